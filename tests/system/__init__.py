"""Tests with real workers and web servers, whole."""
