"""Publish jobs of ``tests.support.apps.jobs``."""

from __future__ import annotations

from celery import Celery


def send(client: Celery, number: int) -> None:
    """Publish jobs that return at once, for the customer ``123``."""
    for _ in range(number):
        client.send_task("tests.support.apps.jobs.work", kwargs={"customer_id": "123"})
