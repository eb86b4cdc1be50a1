"""Generates the packaged Grafana dashboard: ``python -m dashboard`` writes it."""
