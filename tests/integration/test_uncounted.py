"""The number of counted tasks of a worker that does not report it."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery
from flask import Flask

from tests.support.nodes import REPLIES, ScriptedNode
from tests.support.probes import probe
from tests.support.task_counts import details, metric


def test_a_worker_without_stats_has_unknown_task_counts(celery_app: Celery, make_app: Callable[..., Flask]) -> None:
    """A worker without ``stats`` has null task counts, no series and no note."""
    others = {command: reply for command, reply in REPLIES.items() if command != "stats"}
    web = make_app(celery_app, cache_seconds=0)
    with ScriptedNode(celery_app, "a@t", others):
        assert details(web) == {"tasks_registered": None, "tasks_counted": None, "tasks_not_counted": []}
        assert (probe(web).notes, metric(web, "counted", "a@t")) == ("", None)
