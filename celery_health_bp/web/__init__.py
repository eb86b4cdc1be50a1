"""Requests and answers without a web framework."""
