"""What a check says of workers and queues is true: who counts, who is told of, how long queues are."""

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


# -- who is asked and awaited --


def test_a_check_that_knows_its_nodes_waits_for_no_silence(
    celery_app: Celery, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three nodes, an open connection: the check ends with the last reply, whatever the silence is set to."""
    with ScriptedNode(celery_app, "a@t"), ScriptedNode(celery_app, "b@t"), ScriptedNode(celery_app, "c@t"):
        wait_until(lambda: len(probe(app).workers) == 3, "all are known")
        monkeypatch.setattr("celery_health_bp.asking.fleet.SILENCE_SECONDS", 1.5)
        found = probe(app)
    assert found.workers == ["a@t", "b@t", "c@t"]
    assert found.seconds < 1.5


def test_a_node_that_joins_is_listed_by_the_second_check_after(celery_app: Celery, app: Flask) -> None:
    """The first check after it joined may end before it answers; the next but one may not."""
    with ScriptedNode(celery_app, "a@t"):
        probe(app)
        with ScriptedNode(celery_app, "b@t") as joined:
            joined.delay_seconds = 0.02
            probe(app)
            wait_until(lambda: joined.asked == len(REPLIES), "it has answered")
            probe(app)
            assert probe(app).workers == ["a@t", "b@t"]


def test_a_node_that_is_slow_to_join_is_not_starved_by_scrapes_of_its_counts(
    celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """Late replies that a scrape reads on its way still make their node expected."""
    app = make_app(celery_app, cache_seconds=0, metrics_store="control")
    counting = {**REPLIES, "stats": {"celery_health": {}}, "celery_health_counts": Counts().to_rows()}
    with ScriptedNode(celery_app, "a@t", counting), ScriptedNode(celery_app, "b@t") as slow:
        slow.delay_seconds = 0.05
        client = app.test_client()
        wait_until(lambda: b'celery_worker_up{hostname="b@t"}' in client.get("/metrics").data, "b is listed", 10)


def test_a_frozen_node_costs_the_deadline_once(celery_app: Celery, make_app: Callable[..., Flask]) -> None:
    """One of two nodes stops answering: one check waits for it, the next ones do not, and it comes back."""
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


def test_two_nodes_of_one_name_are_told(celery_app: Celery, app: Flask) -> None:
    """Two workers that were given the same name are noted by the second check."""
    with ScriptedNode(celery_app, "a@t"), ScriptedNode(celery_app, "a@t"):
        probe(app)
        wait_until(lambda: "a@t: several nodes answer under this name" in probe(app).notes, "it is noted", 5)
        assert probe(app).workers == ["a@t"]


def test_two_nodes_of_one_name_are_told_within_one_check(
    celery_app: Celery, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that waits for others hears both, and notes it at once."""
    monkeypatch.setattr("celery_health_bp.asking.fleet.SILENCE_SECONDS", 1)
    with ScriptedNode(celery_app, "a@t"), ScriptedNode(celery_app, "a@t"):
        assert "a@t: several nodes answer under this name" in probe(app).notes


def test_remote_control_that_is_off_is_said_and_nothing_is_left(
    redis: RedisServer, make_app: Callable[..., Flask]
) -> None:
    """With ``worker_enable_remote_control`` off nobody can know: that is the error, and no key is made."""
    celery_app = Celery(broker=redis.url)
    celery_app.conf.worker_enable_remote_control = False
    found = probe(make_app(celery_app))
    assert found.status == 503
    assert found.error == "Whether workers run cannot be known: worker_enable_remote_control is off"
    assert "worker_enable_remote_control = True" in found.advice
    assert redis.client().keys() == []


def test_an_eager_app_is_noted(celery_app: Celery, app: Flask) -> None:
    """With ``task_always_eager`` workers never see this process's tasks, and the details say so."""
    celery_app.conf.task_always_eager = True
    with ScriptedNode(celery_app, "a@t"):
        assert "task_always_eager is on" in probe(app).notes


def test_a_worker_in_this_process_answers_over_memory(make_app: Callable[..., Flask]) -> None:
    """``memory://`` with a worker in a thread: healthy, faster than kombu's polling of a second."""
    celery_app = Celery("upstream", broker="memory://", broker_transport_options={"polling_interval": 0.01})
    app = make_app(celery_app, cache_seconds=0)
    with worker_in_process(celery_app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        wait_until(lambda: probe(app).status == 200, "the worker answers")
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
    """``task_queues`` as None, a list and a dict: their names, and 0 for one that has no key."""
    celery_app.conf.task_queues = task_queues
    with ScriptedNode(celery_app, "a@t", {**REPLIES, "active_queues": [{"name": name} for name in names]}):
        assert probe(app).body["queues"] == dict.fromkeys(names, 0)


def test_the_default_queue_may_have_another_name(celery_app: Celery, app: Flask) -> None:
    """``task_default_queue`` is measured under its name."""
    celery_app.conf.task_default_queue = "jobs"
    with ScriptedNode(celery_app, "a@t"):
        assert "jobs" in probe(app).body["queues"]


def test_priorities_are_summed(celery_app: Celery, app: Flask) -> None:
    """Messages of every priority count, where a plain LLEN sees one list."""
    for priority in (0, 3, 6, 9):
        celery_app.send_task("any", priority=priority)
    with ScriptedNode(celery_app, "a@t"):
        assert probe(app).body["queues"] == {"celery": 4}


def test_workers_on_disjoint_queues_are_both_right(redis: RedisServer, celery_app: Celery, app: Flask) -> None:
    """Each worker's queue is measured; when one leaves, its waiting messages are told until they are gone."""
    sender = Celery(broker=redis.url)  # an app that sends to a queue declares it: this one is not asked
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
    """50 queues have 50 lengths, in time."""
    names = [f"queue{number}" for number in range(50)]
    app = make_app(celery_app, cache_seconds=0, queues=names)
    celery_app.send_task("any", queue="queue7")
    with ScriptedNode(celery_app, "a@t"):
        probe(app)
        found = probe(app)
    assert found.body["queues"] == {**dict.fromkeys(names, 0), "queue7": 1}
    assert found.seconds <= 2.4


def test_a_flushed_redis_costs_no_wrong_answer(redis: RedisServer, celery_app: Celery, app: Flask) -> None:
    """FLUSHALL takes the reply queue's binding away: the next check makes another one and is right."""
    with ScriptedNode(celery_app, "a@t"):
        assert probe(app).status == 200
        redis.client().flushall()
        assert probe(app).status == 200
