"""What a check reports on workers and queues: active workers, notes, queue lengths."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker as worker_in_process
from flask import Flask
from kombu import Queue

from celery_health_bp.counts import Counts
from tests.support.nodes import REPLIES, ScriptedNode
from tests.support.probes import probe
from tests.support.processes import wait_until
from tests.support.servers import RedisServer

pytestmark = pytest.mark.deadline


# -- workers --


def test_a_check_with_known_nodes_ends_with_the_last_reply(
    celery_app: Celery, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check of three known nodes ends with the last reply, not ``SILENCE_SECONDS`` later."""
    with ScriptedNode(celery_app, "a@t"), ScriptedNode(celery_app, "b@t"), ScriptedNode(celery_app, "c@t"):
        wait_until(lambda: len(probe(app).workers) == 3, "all are known")
        monkeypatch.setattr("celery_health_bp.asking.fleet.SILENCE_SECONDS", 1.5)
        found = probe(app)
    assert found.workers == ["a@t", "b@t", "c@t"]
    assert found.seconds < 1.5


def test_a_new_node_is_listed_by_the_second_check(celery_app: Celery, app: Flask) -> None:
    """A node that replies too late for the first check is listed by the second check after its reply."""
    with ScriptedNode(celery_app, "a@t"):
        probe(app)
        with ScriptedNode(celery_app, "b@t") as joined:
            joined.delay_seconds = 0.02
            probe(app)
            wait_until(lambda: joined.received == len(REPLIES), "it has replied")
            probe(app)
            assert probe(app).workers == ["a@t", "b@t"]


def test_a_slow_new_node_is_listed_although_scrapes_ask_for_counts(
    celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """Late replies that a scrape reads while it waits for counts make their node known."""
    app = make_app(celery_app, cache_seconds=0, metrics_store="control")
    counting = {**REPLIES, "stats": {"celery_health": {}}, "celery_health_counts": Counts().to_rows()}
    with ScriptedNode(celery_app, "a@t", counting), ScriptedNode(celery_app, "b@t") as slow:
        slow.delay_seconds = 0.05
        client = app.test_client()
        wait_until(lambda: b'celery_worker_up{hostname="b@t"}' in client.get("/metrics").data, "b is listed", 10)


def test_a_frozen_node_delays_one_check_only(celery_app: Celery, make_app: Callable[..., Flask]) -> None:
    """One check waits for a node that froze, the next does not; when it replies again, it is listed."""
    app = make_app(celery_app, cache_seconds=0, timeout_seconds=1)
    with ScriptedNode(celery_app, "a@t"), ScriptedNode(celery_app, "b@t") as frozen:
        wait_until(lambda: len(probe(app).workers) == 2, "both are known")
        frozen.delay_seconds = 30
        first, second = probe(app), probe(app)
        frozen.wake()
        wait_until(lambda: len(probe(app).workers) == 2, "it is back")
    assert (first.status, second.status) == (200, 200)
    assert first.seconds >= 1
    assert second.seconds < 0.9
    assert "b@t: not answering since" in second.notes
    assert "Not answering any more: b@t" in second.advice


def test_two_nodes_with_one_name_are_noted(celery_app: Celery, app: Flask) -> None:
    """Two workers with the same name are noted."""
    with ScriptedNode(celery_app, "a@t"), ScriptedNode(celery_app, "a@t"):
        probe(app)
        wait_until(lambda: "a@t: several nodes answer under this name" in probe(app).notes, "it is noted", 5)
        assert probe(app).workers == ["a@t"]


def test_two_nodes_with_one_name_are_noted_by_one_check(
    celery_app: Celery, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that waits long enough for both replies notes the name at once."""
    monkeypatch.setattr("celery_health_bp.asking.fleet.SILENCE_SECONDS", 0.5)
    with ScriptedNode(celery_app, "a@t"), ScriptedNode(celery_app, "a@t"):
        assert "a@t: several nodes answer under this name" in probe(app).notes


def test_remote_control_that_is_off_is_reported_and_leaves_no_key(
    redis: RedisServer, make_app: Callable[..., Flask]
) -> None:
    """With ``worker_enable_remote_control`` off the error names the setting, and Redis has no key."""
    celery_app = Celery(broker=redis.url)
    celery_app.conf.worker_enable_remote_control = False
    found = probe(make_app(celery_app))
    assert found.status == 503
    assert found.error == "Whether workers run cannot be known: worker_enable_remote_control is off"
    assert "worker_enable_remote_control = True" in found.advice
    assert redis.client().keys() == []


def test_an_eager_app_is_noted(celery_app: Celery, app: Flask) -> None:
    """With ``task_always_eager``, where workers do not get this process's tasks, a note names the setting."""
    celery_app.conf.task_always_eager = True
    with ScriptedNode(celery_app, "a@t"):
        assert "task_always_eager is on" in probe(app).notes


@pytest.mark.slow
def test_a_worker_in_this_process_replies_over_memory(make_app: Callable[..., Flask]) -> None:
    """With ``memory://`` and a worker in a thread a check is healthy, sooner than kombu's polling interval of 1 s."""
    celery_app = Celery("upstream", broker="memory://", broker_transport_options={"polling_interval": 0.01})
    app = make_app(celery_app, cache_seconds=0, timeout_seconds=1)
    with worker_in_process(celery_app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        wait_until(lambda: probe(app).status == 200, "the worker replies")
        found = probe(app)
    assert found.status == 200
    assert found.seconds < 1


# -- queues --

DECLARED = {
    "none": (None, {"celery"}),
    "list": ([Queue("high"), Queue("low")], {"high", "low"}),
    "dict": ({"high": {"exchange": "high"}, "low": {"exchange": "low"}}, {"high", "low"}),
}


@pytest.mark.parametrize(("task_queues", "names"), DECLARED.values(), ids=DECLARED)
def test_declared_queues_are_measured(task_queues: object, names: set[str], celery_app: Celery, app: Flask) -> None:
    """For ``task_queues`` as None, a list and a dict the report has each name, and 0 for a queue without a key."""
    celery_app.conf.task_queues = task_queues
    with ScriptedNode(celery_app, "a@t", {**REPLIES, "active_queues": [{"name": name} for name in names]}):
        assert probe(app).body["queues"] == dict.fromkeys(names, 0)


def test_the_default_queue_may_have_another_name(celery_app: Celery, app: Flask) -> None:
    """The length of ``task_default_queue`` is reported under its name."""
    celery_app.conf.task_default_queue = "jobs"
    with ScriptedNode(celery_app, "a@t"):
        assert "jobs" in probe(app).body["queues"]


def test_priorities_are_summed(celery_app: Celery, app: Flask) -> None:
    """A length counts the messages of every priority; one LLEN counts one priority."""
    for priority in (0, 3, 6, 9):
        celery_app.send_task("any", priority=priority)
    with ScriptedNode(celery_app, "a@t"):
        assert probe(app).body["queues"] == {"celery": 4}


def test_queues_of_all_workers_are_measured(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """A queue is measured while a worker consumes it, and after that until it is empty."""
    sender = Celery(broker=redis.url)  # sending declares the queue in this app, not in the one of the check
    app = make_app(celery_app, cache_seconds=0, timeout_seconds=1)
    sender.send_task("any", queue="mail")
    mail = ScriptedNode(celery_app, "mail@t", {**REPLIES, "active_queues": [{"name": "mail"}]})
    with ScriptedNode(celery_app, "a@t"):
        with mail:
            wait_until(lambda: probe(app).body["queues"] == {"celery": 0, "mail": 1}, "both are measured")
            assert probe(app).body["status"] == "healthy"
        probe(app)
        left = probe(app)
        with sender.connection_for_write() as connection:
            connection.default_channel.queue_purge("mail")
        emptied = [probe(app), probe(app)][-1]
    assert left.body["status"] == "degraded"
    assert "Queue mail holds 1 messages and no worker consumes it: celery -A upstream worker -Q mail" in left.advice
    assert emptied.body["queues"] == {"celery": 0}


def test_fifty_queues_are_read_within_the_deadline(celery_app: Celery, make_app: Callable[..., Flask]) -> None:
    """A check reports the lengths of 50 queues by its deadline."""
    names = [f"queue{number}" for number in range(50)]
    app = make_app(celery_app, cache_seconds=0, queues=names)
    celery_app.send_task("any", queue="queue7")
    with ScriptedNode(celery_app, "a@t"):
        probe(app)
        found = probe(app)
    assert found.body["queues"] == {**dict.fromkeys(names, 0), "queue7": 1}
    assert found.seconds <= 2.4


def test_a_flushed_redis_does_not_cost_a_check(redis: RedisServer, celery_app: Celery, app: Flask) -> None:
    """After FLUSHALL, which deletes the binding of the reply queue, the next check makes another one and is 200."""
    with ScriptedNode(celery_app, "a@t"):
        assert probe(app).status == 200
        redis.client().flushall()
        assert probe(app).status == 200
