"""Tests of ``celery_health_bp.asking`` without a server."""
