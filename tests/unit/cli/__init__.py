"""Tests of ``celery_health_bp.cli`` without a server."""
