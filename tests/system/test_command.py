"""``flask celery-health`` with live workers, as a subprocess."""

from __future__ import annotations

import json
from collections.abc import Callable

from celery import Celery

from tests.support.flask_command import run
from tests.support.processes import Worker, wait_until
from tests.support.servers import RedisServer
from tests.support.versions import DIFFERENCES

POOL = "prefork" if DIFFERENCES["pool_implementation"].holds else "?"


def test_a_live_fleet_is_healthy_with_exit_code_0(idle_fleet: RedisServer) -> None:
    """The output gives status, queues and workers, standard error is empty, and the exit code is 0."""
    done = run(idle_fleet.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "HEALTHY: 1 worker answers, no queue is longer than 1000",
        "Queues: celery 0",
        "Workers: worker1@testhost",
    ]


def test_verbose_shows_workers_and_their_tasks(redis: RedisServer, start_worker: Callable[..., Worker]) -> None:
    """``--verbose`` shows tables of workers and of running and scheduled tasks, without arguments."""
    start_worker(redis.url)
    client = Celery("upstream", broker=redis.url)
    running = client.send_task("tests.support.apps.jobs.work", kwargs={"seconds": 20, "customer_id": "sekrit"})
    later = client.send_task("tests.support.apps.jobs.fail", args=["sekrit"], countdown=600)
    wait_until(lambda: running.id in run(redis.url, "--verbose").stdout, "the job runs")
    text = run(redis.url, "--verbose").stdout
    shown = [line.split() for line in text.splitlines()]
    assert ["WORKER", "POOL", "SIZE", "ACTIVE", "RESERVED", "COUNTED", "QUEUES"] in shown
    assert ["worker1@testhost", POOL, "2", "1", "0", "16/17", "celery"] in shown
    assert later.id in text
    assert "sekrit" not in text


def test_a_long_queue_is_degraded_with_exit_code_0(redis: RedisServer, start_worker: Callable[..., Worker]) -> None:
    """With a queue above the threshold, the output is DEGRADED and the exit code 0."""
    Celery("upstream", broker=redis.url).send_task("tests.support.apps.jobs.work", queue="celery")
    start_worker(redis.url, "-Q", "other")
    done = run(redis.url, CELERY_HEALTH_QUEUE_LENGTH_THRESHOLD="0")
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "DEGRADED")
    assert "Recommendation: Queue celery holds 1 messages" in done.stdout


def test_verbose_json_has_the_tasks(redis: RedisServer, start_worker: Callable[..., Worker]) -> None:
    """JSON has the lists of ``tasks/`` next to the body of ``health/``; without workers they are null."""
    options = ("--format", "json", "--verbose", "--timeout", "1")
    no_workers = json.loads(run(redis.url, *options).stdout)
    assert (no_workers["running"], no_workers["scheduled"], no_workers["running_count"]) == (None, None, None)
    start_worker(redis.url)
    client = Celery("upstream", broker=redis.url)
    running = client.send_task("tests.support.apps.jobs.work", kwargs={"seconds": 20, "customer_id": "sekrit"})
    later = client.send_task("tests.support.apps.jobs.fail", args=["sekrit"], countdown=600)

    def both_known() -> bool:
        done = run(redis.url, *options)
        assert "sekrit" not in done.stdout
        body = json.loads(done.stdout)
        ids = [[task["task_id"] for task in body[key]] for key in ("running", "scheduled")]
        return (ids, body["running_count"], "details" in body) == ([[running.id], [later.id]], 1, True)

    wait_until(both_known, "both tasks are in the JSON")
