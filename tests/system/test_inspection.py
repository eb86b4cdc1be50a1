"""Workers with this package send all facts in one reply; others get further commands."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery

from celery_health_bp import CeleryHealth
from celery_health_bp.asking.fleet import COMMANDS, REST
from celery_health_bp.asking.replies import facts_of, worker_of
from celery_health_bp.counting.snapshot import MAX_TASKS
from tests.support.nodes import REPLIES, ScriptedNode
from tests.support.processes import Worker, wait_until
from tests.support.servers import RedisServer


@pytest.fixture
def health(celery_app: Celery, make_health: Callable[..., CeleryHealth]) -> CeleryHealth:
    """Return a CeleryHealth without a cache."""
    return make_health(celery_app, cache_seconds=0)


def published(redis: RedisServer) -> int:
    """Return the number of PUBLISH calls that this Redis has served."""
    with redis.client() as client:
        return int(client.info("commandstats").get("cmdstat_publish", {}).get("calls", 0))


def test_workers_with_this_package_need_one_message(
    redis: RedisServer, health: CeleryHealth, start_worker: Callable[..., Worker]
) -> None:
    """A check of two workers publishes one message: the minimum of ten checks, since heartbeats are published too."""
    start_worker(redis.url, name="a")
    start_worker(redis.url, name="b")
    wait_until(lambda: len(health.observe().workers) == 2, "both are known")
    counts = [published(redis)]
    for _ in range(10):
        assert all(worker.running == () for worker in health.observe().workers)
        counts.append(published(redis))
    assert min(after - before for before, after in itertools.pairwise(counts)) == 1


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_the_single_reply_equals_celerys_own_commands(
    redis: RedisServer, celery_app: Celery, health: CeleryHealth, start_worker: Callable[..., Worker], pool: str
) -> None:
    """The reply has the same running, scheduled and reserved attempts and queues as ``inspect``, without arguments."""
    worker = start_worker(redis.url, "--prefetch-multiplier=4", "-Q", "celery,mail", pool=pool, concurrency=1)
    for _ in range(3):
        celery_app.send_task("tests.support.apps.jobs.work", kwargs={"customer_id": "s3cr3t", "seconds": 30})
    celery_app.send_task("tests.support.apps.jobs.work", kwargs={"customer_id": "s3cr3t"}, countdown=300)

    def state() -> list[int | None]:
        return [
            number
            for found in health.observe().workers
            for number in (len(found.running or ()), len(found.scheduled or ()), found.reserved)
        ]

    wait_until(lambda: state() == [1, 1, 2], "one runs, one is scheduled, two wait")
    inspect = celery_app.control.inspect([worker.name])
    own = {command: getattr(inspect, command)()[worker.name] for command in COMMANDS}
    facts: dict[str, object] = {}
    for command, reply in own.items():  # later replies replace the facts in "stats"
        facts |= facts_of(worker.name, command, reply)
    expected = worker_of(worker.name, facts)
    assert expected is not None
    (found,) = health.observe().workers
    time_of_reply: dict[str, Any] = {"uptime_seconds": None, "sending": None}  # what differs between two replies
    assert replace(found, **time_of_reply) == replace(expected, **time_of_reply)
    assert "s3cr3t" not in json.dumps(own["stats"])


def test_a_worker_without_this_package_is_fully_known_in_its_first_check(
    redis: RedisServer, celery_app: Celery, health: CeleryHealth, start_worker: Callable[..., Worker]
) -> None:
    """A check sends all commands while such a worker is there, and only the first again after it has left."""
    running = {"id": "1", "type": "elsewhere.job", "time_start": 1.0}
    start_worker(redis.url)
    with ScriptedNode(celery_app, "foreign@t", {**REPLIES, "active": [running]}) as foreign:
        for _ in range(2):
            names = {task.task_name for task in health.observe().running}
            assert names == {"elsewhere.job"}
        assert foreign.received == 2 * len(COMMANDS)
    wait_until(lambda: len(health.observe().workers) == 1, "it has left")
    before = published(redis)
    health.observe()
    assert published(redis) - before < len(REST)


@pytest.mark.slow
def test_very_many_scheduled_attempts_are_left_out_of_stats(
    redis: RedisServer, celery_app: Celery, health: CeleryHealth, start_worker: Callable[..., Worker]
) -> None:
    """With 1,001 scheduled attempts, the reply to ``stats`` holds none of them, and a check still lists all."""
    worker = start_worker(redis.url)
    for _ in range(MAX_TASKS + 1):
        celery_app.send_task("tests.support.apps.jobs.work", countdown=600)
    wait_until(lambda: len(health.observe().scheduled) == MAX_TASKS + 1, "all are known", 60)
    (stats,) = celery_app.control.inspect([worker.name]).stats().values()
    assert stats["celery_health"]["inspection"] == {}


def test_a_node_that_joins_later_without_stats_is_listed(
    celery_app: Celery, health: CeleryHealth, start_worker: Callable[..., Worker], redis: RedisServer
) -> None:
    """Its error reply to the single message makes the check send the other commands."""
    worker = start_worker(redis.url)
    for _ in range(3):
        assert health.check().active_workers == (worker.name,)
    others = {command: reply for command, reply in REPLIES.items() if command != "stats"}
    with ScriptedNode(celery_app, "a@t", others):
        wait_until(lambda: health.check().active_workers == ("a@t", worker.name), "both are listed")
