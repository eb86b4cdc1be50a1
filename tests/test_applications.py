"""Two applications in one Redis database: each is judged by its own workers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from flask import Flask

from celery_health_bp import CeleryHealth
from celery_health_bp.asking.applications import own_names

from .nodes import REPLIES, ScriptedNode
from .probes import Probe, probe
from .processes import ROOT, Worker, celery_environ, wait_until
from .servers import RedisServer


def holding(name: str, broker_url: str) -> Celery:
    """The application of this name as its own web process has it: with its tasks."""
    app = Celery(name, broker=broker_url, set_as_current=False)
    app.task(name=f"{name}.work", shared=False)(work)
    return app


def work() -> None:
    """A job."""


#: Whom an app of another name than the workers' counts, in a process of its own.
CLIENT = """
from celery import Celery
from celery_health_bp import CeleryHealth, Settings
app = Celery("client")
%s
health = CeleryHealth(lambda: app, Settings(timeout_seconds=5))
print(*health.check().active_workers)
"""


def client_of(redis: RedisServer, code: str) -> list[str]:
    """The workers that count for a process with an app of its own, in which this code runs too."""
    done = subprocess.run(
        [sys.executable, "-c", CLIENT % code],
        env=celery_environ(redis.url, {"TENANT_NAME": "b"}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.split()


@pytest.fixture
def two_fleets(redis: RedisServer, start_worker: Callable[..., Worker]) -> dict[str, Worker]:
    """Workers of the applications a and b, each on a queue of its own, with the same node name."""
    return {
        name: start_worker(
            redis.url,
            app="tests.tenant_jobs:app",
            pool="solo",
            name=f"{name}-worker",
            environ={"TENANT_NAME": name, "TENANT_QUEUE": f"queue-{name}"},
        )
        for name in ("a", "b")
    }


def test_a_worker_of_another_application_is_none_of_ours(
    redis: RedisServer, two_fleets: dict[str, Worker], make_app: Callable[..., Flask]
) -> None:
    """When the only worker of a ends, a is 503 and names that of b, b stays 200; a client without tasks counts both."""
    a, b = holding("a", redis.url), holding("b", redis.url)
    with a, b:
        a.conf.task_default_queue, b.conf.task_default_queue = "queue-a", "queue-b"
        app_a, app_b = (make_app(app, cache_seconds=0, timeout_seconds=2) for app in (a, b))
        probe(app_b)
        wait_until(lambda: probe(app_a).body["details"]["other_applications"], "a has heard of b")
        found = probe(app_a)
        assert (found.status, found.workers, found.body["queues"]) == (200, ["a-worker@testhost"], {"queue-a": 0})
        assert found.body["details"]["other_applications"] == [{"name": "b-worker@testhost", "application": "b"}]
        metrics = app_a.test_client().get("/metrics").text
        assert 'celery_worker_up{hostname="a-worker@testhost"} 1.0' in metrics
        assert "celery_workers 1.0" in metrics
        assert "b-worker" not in metrics
        assert client_of(redis, "") == ["a-worker@testhost", "b-worker@testhost"]
        # The tasks of the application are those of every app that imports them.
        assert client_of(redis, "import tests.tenant_jobs") == ["b-worker@testhost"]

        two_fleets["a"].end()
        found = probe(app_a)
        assert (found.status, found.error) == (503, "No active Celery workers found")
        assert "b-worker@testhost (b)" in found.advice
        assert "control_exchange" in found.advice
        assert app_a.test_client().get("/api/celery/tasks/").status_code == 503
        assert probe(app_b).status == 200
        two_fleets["b"].end()
        wait_until(lambda: probe(app_a).body["details"]["other_applications"] == [], "b is not listed any more")
        assert "b-worker" not in probe(app_a).advice


def replies(application: str | None, **inspection: Any) -> dict[str, Any]:
    """What a worker with this package answers."""
    ours = {"inspection": {"active_queues": [{"name": "celery"}], **inspection}, "application": application}
    return {**REPLIES, "stats": {**REPLIES["stats"], "celery_health": ours}}


def test_applications_of_one_process_are_kept_apart_from_the_start() -> None:
    """Of two applications with a health each, the one does not count the other's workers, whichever is asked first."""
    with holding("a", "memory://") as a, holding("b", "memory://") as b:
        CeleryHealth(a), CeleryHealth(b)
        assert "b" not in (own_names(a) or {"b"})
        assert "a" not in (own_names(b) or {"a"})


def test_an_application_is_known_by_the_modules_that_it_includes() -> None:
    """An app whose tasks stand in modules that only its workers import is the application, and no bare client."""
    with Celery("a", include=["a.tasks"], set_as_current=False) as app, Celery("b", set_as_current=False) as client:
        assert "a" in (own_names(app) or ())
        assert own_names(client) is None or "b" in own_names(client)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_the_same_node_name_in_two_applications(
    order: tuple[str, str], redis: RedisServer, make_app: Callable[..., Flask]
) -> None:
    """Whichever of two nodes ``celery@host`` answers first, ours is seen, and by every check."""
    with holding("a", redis.url) as a:
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
    with holding("a", redis.url) as a, holding("b", redis.url) as b:
        b.conf.control_exchange = "billing"
        with ScriptedNode(a, "a@t"), ScriptedNode(b, "b@t"):
            found = [probe(make_app(app)).workers for app in (a, b)]
    assert found == [["a@t"], ["b@t"]]
