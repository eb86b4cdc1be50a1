"""Celery applications that the tests start workers of."""
