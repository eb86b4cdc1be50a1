"""How many tasks of a worker are registered and counted, as a check and a scrape show it."""

from __future__ import annotations

from typing import Any

from flask import Flask

from tests.support.exposition import Exposition
from tests.support.probes import probe


def details(app: Flask) -> dict[str, Any]:
    """Return the ``tasks_*`` keys of the only worker; the status must be healthy."""
    found = probe(app)
    assert (found.status, found.body["status"]) == (200, "healthy")
    (worker,) = found.body["details"]["workers"]
    return {key: value for key, value in worker.items() if key.startswith("tasks_")}


def metric(app: Flask, name: str, worker: str) -> float | None:
    """Return the value of the gauge ``celery_worker_tasks_NAME`` of a worker, or ``None``."""
    return Exposition(app.test_client().get("/metrics").text).get(f"celery_worker_tasks_{name}", hostname=worker)
