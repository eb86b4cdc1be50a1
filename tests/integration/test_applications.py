"""Two applications in one Redis database: each is judged by its own workers."""

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
    """What a worker with this package answers."""
    ours = {"inspection": {"active_queues": [{"name": "celery"}], **inspection}, "application": application}
    return {**REPLIES, "stats": {**REPLIES["stats"], "celery_health": ours}}


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_the_same_node_name_in_two_applications(
    order: tuple[str, str], redis: RedisServer, make_app: Callable[..., Flask]
) -> None:
    """Whichever of two nodes ``celery@host`` answers first, ours is seen, and by every check."""
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
def asked(redis: RedisServer, make_app: Callable[..., Flask]) -> Callable[..., Probe]:
    """The health of an application as it finds a worker that says this of itself."""

    def ask(name: str | None, said: Any) -> Probe:
        with Celery(name, broker=redis.url, set_as_current=False) as app:
            app.task(name="mine.work", shared=False)(work)
            with ScriptedNode(app, "w@t", replies(said)):
                return probe(make_app(app, timeout_seconds=1))

    return ask


@pytest.mark.parametrize(
    ("name", "said"),
    [("a", None), (None, "b"), ("__main__", "a"), ("a", "__main__"), ("a", "a"), ("a", ["b"]), ("a", "")],
)
def test_a_worker_counts_unless_both_names_are_known(name: str | None, said: Any, asked: Callable[..., Probe]) -> None:
    """A name that is missing, or the one of a script, tells nothing: the worker counts."""
    assert asked(name, said).workers == ["w@t"]


def test_a_worker_that_takes_our_messages_is_told_of(asked: Callable[..., Probe]) -> None:
    """A worker of another application on one of our queues takes our jobs and cannot run them."""
    found = asked("a", "b")
    assert (found.status, found.workers) == (503, [])
    assert "w@t of the application b consumes queue celery" in found.notes


def test_control_exchange_separates_workers_that_say_nothing(
    redis: RedisServer, make_app: Callable[..., Flask]
) -> None:
    """Plain workers of two applications, one with a control exchange of its own, do not answer the other's check."""
    with named_app("a", redis.url) as a, named_app("b", redis.url) as b:
        b.conf.control_exchange = "billing"
        with ScriptedNode(a, "a@t"), ScriptedNode(b, "b@t"):
            found = [probe(make_app(app)).workers for app in (a, b)]
    assert found == [["a@t"], ["b@t"]]
