"""Many requests at once share one broadcast, and each is answered by its deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask

from tests.support.network import silent_port
from tests.support.nodes import COMMANDS, ScriptedNode
from tests.support.probes import PATH, probe, statuses
from tests.support.processes import wait_until
from tests.support.servers import RedisServer


@pytest.mark.deadline
@pytest.mark.slow
def test_two_hundred_threads_are_answered_while_jobs_are_published(
    redis: RedisServer, node: ScriptedNode, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """10,000 requests of 200 threads without a cache are all 200, and publishing goes on meanwhile."""
    app = make_app(celery_app, cache_seconds=0, timeout_seconds=10)
    ended = threading.Event()
    published: list[bool] = []

    def publish() -> None:
        while not ended.is_set():
            celery_app.send_task("any", queue="elsewhere")
            published.append(ended.wait(0.01))

    publisher = threading.Thread(target=publish)
    publisher.start()
    found = statuses(lambda: app.test_client().get(PATH).status_code, 10_000, 200)
    ended.set()
    publisher.join(10)
    assert not publisher.is_alive()
    assert found == {200: 10_000}
    assert len(published) > 10
    assert redis.client().llen("elsewhere") == len(published)


@pytest.mark.deadline
def test_simultaneous_requests_share_one_broadcast(
    node: ScriptedNode, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """20 requests during one check of a slow node cause at most one more broadcast."""
    app = make_app(celery_app, cache_seconds=0, timeout_seconds=5)
    probe(app)
    received = node.received
    node.delay_seconds = 0.1
    found = statuses(lambda: probe(app).status, 20, 20)
    assert found == {200: 20}
    assert node.received - received <= 2 * COMMANDS


def test_a_cached_report_is_answered_without_a_broadcast(
    node: ScriptedNode, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """Within ``cache_seconds`` health, tasks, stats and metrics share one broadcast."""
    client = make_app(celery_app, cache_seconds=60).test_client()
    client.get(PATH)
    received = node.received
    paths = [PATH, "/api/celery/tasks/", "/api/celery/stats/", "/metrics"]
    assert [client.get(path).status_code for path in paths] == [200] * 4
    assert node.received == received


def test_an_expired_healthy_report_does_not_hide_a_fault(
    redis: RedisServer, node: ScriptedNode, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """When a healthy report has expired and the broker is frozen, the status becomes 503."""
    app = make_app(celery_app, cache_seconds=0.05, timeout_seconds=1)
    assert probe(app).status == 200
    redis.freeze()
    wait_until(lambda: probe(app).status == 503, "the fault is reported", 5)
    redis.thaw()
    assert probe(app).status == 200


@pytest.mark.deadline
def test_a_request_that_joins_a_failing_check_gets_its_own(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """A request that arrives during a check without workers sees a worker that has started since."""
    app = make_app(celery_app, cache_seconds=0, timeout_seconds=2)
    answers: dict[str, int] = {}
    older = threading.Thread(target=lambda: answers.update(older=probe(app).status))
    older.start()
    sent = "cmdstat_publish"
    wait_until(
        lambda: redis.client().info("commandstats").get(sent, {}).get("calls", 0) >= 1, "the older check has published"
    )
    with ScriptedNode(celery_app, "node1@testhost"):
        answers.update(joined=probe(app).status)
    older.join(10)
    assert answers == {"older": 503, "joined": 200}


def test_at_most_one_abandoned_check_is_running(make_app: Callable[..., Flask]) -> None:
    """Many requests to a silent broker leave at most one check thread running."""

    def checks() -> int:
        return sum(thread.name == "celery-health-check" for thread in threading.enumerate())

    with silent_port() as port:
        app = make_app(Celery(broker=f"redis://127.0.0.1:{port}/0"), cache_seconds=0, timeout_seconds=0.3)
        seen: list[int] = []

        def ask() -> int:
            status = probe(app).status
            seen.append(checks())
            return status

        assert statuses(ask, 60, 20) == {503: 60}
    assert max(seen) <= 2  # one with a result, and one that begins
    wait_until(lambda: checks() == 0, "no thread is left")
