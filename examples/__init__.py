"""A small application that uses celery_health_bp, and the demo that runs it."""
