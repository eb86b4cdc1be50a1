"""Tests of ``celery_health_bp.stores`` without a server."""
