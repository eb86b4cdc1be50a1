"""The example project. Imports its Celery app, as in Celery's guide for Django."""

from .celery import app as celery_app

__all__ = ["celery_app"]
