"""Tests of ``celery_health_bp.counting`` without a server."""
