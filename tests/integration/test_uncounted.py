"""How many tasks of a worker are counted, and which are not: a forgotten MonitoredTask can be seen."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery
from flask import Flask

from tests.support.nodes import REPLIES, ScriptedNode
from tests.support.probes import probe
from tests.support.task_counts import details, metric


def test_a_node_that_did_not_answer_stats_is_not_accused(celery_app: Celery, make_app: Callable[..., Flask]) -> None:
    """What a worker did not say is null, without a series or a sentence."""
    others = {command: reply for command, reply in REPLIES.items() if command != "stats"}
    web = make_app(celery_app, cache_seconds=0)
    with ScriptedNode(celery_app, "a@t", others):
        assert details(web) == {"tasks_registered": None, "tasks_counted": None, "tasks_not_counted": []}
        assert (probe(web).notes, metric(web, "counted", "a@t")) == ("", None)
