"""The example project; importing its Celery app here is what Celery's Django guide asks for."""

from .celery import app as celery_app

__all__ = ["celery_app"]
