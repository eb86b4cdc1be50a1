"""How many tasks of a worker are counted, and which are not: a forgotten MonitoredTask can be seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery
from flask import Flask

from tests.support.exposition import Exposition
from tests.support.nodes import REPLIES, ScriptedNode
from tests.support.probes import probe


def details(app: Flask) -> dict[str, Any]:
    """What a probe says of the tasks of the one worker; the verdict does not depend on it."""
    found = probe(app)
    assert (found.status, found.body["status"]) == (200, "healthy")
    (worker,) = found.body["details"]["workers"]
    return {key: value for key, value in worker.items() if key.startswith("tasks_")}


def metric(app: Flask, name: str, worker: str) -> float | None:
    """A gauge of a worker."""
    return Exposition(app.test_client().get("/metrics").text).get(f"celery_worker_tasks_{name}", hostname=worker)


def test_a_node_that_did_not_answer_stats_is_not_accused(celery_app: Celery, make_app: Callable[..., Flask]) -> None:
    """What a worker did not say is null, without a series or a sentence."""
    others = {command: reply for command, reply in REPLIES.items() if command != "stats"}
    web = make_app(celery_app, cache_seconds=0)
    with ScriptedNode(celery_app, "a@t", others):
        assert details(web) == {"tasks_registered": None, "tasks_counted": None, "tasks_not_counted": []}
        assert (probe(web).notes, metric(web, "counted", "a@t")) == ("", None)
