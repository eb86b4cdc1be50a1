"""Workers with this package say everything in one reply; the others are asked for the rest."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace

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
    """Return health without a cache."""
    return make_health(celery_app, cache_seconds=0)


def published(redis: RedisServer) -> int:
    """Messages to all subscribers that this Redis has passed on."""
    with redis.client() as client:
        return int(client.info("commandstats").get("cmdstat_publish", {}).get("calls", 0))


def test_workers_with_this_package_are_asked_in_one_message(
    redis: RedisServer, health: CeleryHealth, start_worker: Callable[..., Worker]
) -> None:
    """A check of two workers publishes once (a worker's heartbeat may come in between: the least of ten)."""
    start_worker(redis.url, name="a")
    start_worker(redis.url, name="b")
    wait_until(lambda: len(health.observe().workers) == 2, "both are known")
    counts = [published(redis)]
    for _ in range(10):
        assert all(worker.running == () for worker in health.observe().workers)
        counts.append(published(redis))
    assert min(after - before for before, after in itertools.pairwise(counts)) == 1


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_the_one_reply_says_the_same_as_celerys_own_commands(
    redis: RedisServer, celery_app: Celery, health: CeleryHealth, start_worker: Callable[..., Worker], pool: str
) -> None:
    """Running, scheduled and reserved attempts and queues as ``inspect`` has them, and no argument among them."""
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
    for command, reply in own.items():  # what comes later replaces what is within "stats"
        facts |= facts_of(worker.name, command, reply)
    expected = worker_of(worker.name, facts)
    assert expected is not None
    (found,) = health.observe().workers
    assert replace(found, uptime_seconds=None) == replace(expected, uptime_seconds=None)
    assert "s3cr3t" not in json.dumps(own["stats"])


def test_a_worker_without_this_package_is_asked_for_the_rest_within_its_first_check(
    redis: RedisServer, celery_app: Celery, health: CeleryHealth, start_worker: Callable[..., Worker]
) -> None:
    """Beside a worker that says all at once, a foreign one is known whole at once too, and again alone later."""
    running = {"id": "1", "type": "elsewhere.job", "time_start": 1.0}
    start_worker(redis.url)
    with ScriptedNode(celery_app, "foreign@t", {**REPLIES, "active": [running]}) as foreign:
        for _ in range(2):
            names = {task.task_name for task in health.observe().running}
            assert names == {"elsewhere.job"}
        assert foreign.asked == 2 * len(COMMANDS)
    wait_until(lambda: len(health.observe().workers) == 1, "it is gone")
    before = published(redis)
    health.observe()
    assert published(redis) - before < len(REST)


def test_a_worker_with_very_many_scheduled_attempts_keeps_its_stats_short(
    redis: RedisServer, celery_app: Celery, health: CeleryHealth, start_worker: Callable[..., Worker]
) -> None:
    """Of 1,001 scheduled attempts ``stats`` says nothing, and a check knows them all the same."""
    worker = start_worker(redis.url)
    for _ in range(MAX_TASKS + 1):
        celery_app.send_task("tests.support.apps.jobs.work", countdown=600)
    wait_until(lambda: len(health.observe().scheduled) == MAX_TASKS + 1, "all are known", 60)
    (stats,) = celery_app.control.inspect([worker.name]).stats().values()
    assert stats["celery_health"]["inspection"] == {}


def test_one_that_cannot_tell_its_stats_and_joins_later_is_listed_too(
    celery_app: Celery, health: CeleryHealth, start_worker: Callable[..., Worker], redis: RedisServer
) -> None:
    """Its error in answer to the one message makes the check ask on."""
    worker = start_worker(redis.url)
    for _ in range(3):
        assert health.check().active_workers == (worker.name,)
    others = {command: reply for command, reply in REPLIES.items() if command != "stats"}
    with ScriptedNode(celery_app, "a@t", others):
        wait_until(lambda: health.check().active_workers == ("a@t", worker.name), "both are listed")
