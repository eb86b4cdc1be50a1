"""The Celery app: ``celery -A project worker``."""

import os

from celery import Celery

from celery_health_bp import MonitoredTask

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

app = Celery("project", task_cls=MonitoredTask)  # every task is counted
app.config_from_object("django.conf:settings", namespace="CELERY")


@app.task
def add(first: int, second: int, customer_id: str = "unknown") -> int:
    """Return the sum."""
    return first + second


@app.task
def divide(first: int, second: int, customer_id: str = "unknown") -> float:
    """Return the quotient; fails if ``second`` is 0."""
    return first / second
