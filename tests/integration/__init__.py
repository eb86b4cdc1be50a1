"""Tests with one broker or store, and workers that are scripted."""
