"""Two applications in one Redis database: each counts its own workers only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from flask import Flask

from tests.support.client_apps import named_app, work
from tests.support.nodes import REPLIES, ScriptedNode
from tests.support.probes import Probe, probe
from tests.support.processes import wait_until
from tests.support.servers import RedisServer


def replies(application: str | None, **inspection: Any) -> dict[str, Any]:
    """Return the replies of a worker with this package.

    Arguments:
        application: the name that it reports for its application.
    """
    ours = {"inspection": {"active_queues": [{"name": "celery"}], **inspection}, "application": application}
    return {**REPLIES, "stats": {**REPLIES["stats"], "celery_health": ours}}


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_two_applications_may_share_a_node_name(
    order: tuple[str, str], redis: RedisServer, make_app: Callable[..., Flask]
) -> None:
    """Each check lists our ``celery@host``, whichever of the two nodes replies first."""
    with named_app("a", redis.url) as a:
        app = make_app(a, cache_seconds=0)
        nodes = [ScriptedNode(a, "celery@host", replies(name)) for name in order]
        with nodes[0], nodes[1]:
            nodes[order.index("a")].delay_seconds = 0.05
            wait_until(lambda: len(probe(app).body["details"]["other_applications"]) == 1, "both are known")
            found = [probe(app) for _ in range(5)]
    assert [(each.status, each.workers) for each in found] == [(200, ["celery@host"])] * 5
    assert "several nodes" not in found[-1].notes


@pytest.fixture
def probe_of(redis: RedisServer, make_app: Callable[..., Flask]) -> Callable[..., Probe]:
    """Probe an application ``name`` whose only worker reports ``reported`` as its application."""

    def ask(name: str | None, reported: Any) -> Probe:
        with Celery(name, broker=redis.url, set_as_current=False) as app:
            app.task(name="mine.work", shared=False)(work)
            with ScriptedNode(app, "w@t", replies(reported)):
                return probe(make_app(app, timeout_seconds=1))

    return ask


@pytest.mark.parametrize(
    ("name", "reported"),
    [("a", None), (None, "b"), ("__main__", "a"), ("a", "__main__"), ("a", "a"), ("a", ["b"]), ("a", "")],
)
def test_a_worker_counts_unless_both_names_are_known(
    name: str | None, reported: Any, probe_of: Callable[..., Probe]
) -> None:
    """A worker counts if either name is missing or ``__main__``, or if both are equal."""
    assert probe_of(name, reported).workers == ["w@t"]


def test_a_foreign_worker_on_our_queue_is_noted(probe_of: Callable[..., Probe]) -> None:
    """A worker of another application does not count, and a note names the queue of ours that it consumes."""
    found = probe_of("a", "b")
    assert (found.status, found.workers) == (503, [])
    assert "w@t of the application b consumes queue celery" in found.notes


def test_the_control_exchange_separates_plain_workers(redis: RedisServer, make_app: Callable[..., Flask]) -> None:
    """Plain workers of two applications, one of which sets ``control_exchange``, do not reply to the other's check."""
    with named_app("a", redis.url) as a, named_app("b", redis.url) as b:
        b.conf.control_exchange = "billing"
        with ScriptedNode(a, "a@t"), ScriptedNode(b, "b@t"):
            found = [probe(make_app(app)).workers for app in (a, b)]
    assert found == [["a@t"], ["b@t"]]
