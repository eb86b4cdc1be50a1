"""Tests of ``celery_health_bp.web`` without a server."""
