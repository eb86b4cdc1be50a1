"""Servers, processes and probes for the tests."""
