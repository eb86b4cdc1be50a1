"""Celery applications for the workers of the tests."""
