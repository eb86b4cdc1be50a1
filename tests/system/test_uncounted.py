"""How many tasks of a worker are counted, and which are not: a forgotten MonitoredTask can be seen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask

from tests.support.probes import probe
from tests.support.processes import Worker, celery_environ
from tests.support.servers import RedisServer
from tests.support.task_counts import details, metric

#: The longest name that is shown, of a task that has a longer one.
LONG = f"jobs.{'a' * 95}"


def test_tasks_that_are_not_counted_are_named_everywhere(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """A worker with 7 of 8 tasks forgotten: its log, details, a sentence, the command and the metrics say so."""
    worker = start_worker(redis.url, app="tests.support.apps.forgotten_jobs:app")
    web = make_app(celery_app, cache_seconds=0)
    names = [LONG, *(f"jobs.{name}" for name in "bcde")]
    sentence = f"7 of 8 tasks are not counted (no MonitoredTask): {', '.join(names)} and 2 more"
    worker.wait_for(sentence.replace("(", r"\(").replace(")", r"\)"))
    assert details(web) == {"tasks_registered": 8, "tasks_counted": 1, "tasks_not_counted": names}
    assert f"{worker.name}: {sentence}" in probe(web).notes
    assert [metric(web, name, worker.name) for name in ("registered", "counted")] == [8, 1]
    output = web.test_cli_runner().invoke(args=["celery-health", "--verbose"]).output
    assert f"Note: {worker.name}: 7 of 8 tasks are not counted" in output
    assert "1/8" in output


def test_a_worker_whose_tasks_are_all_counted_has_no_sentence(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """Celery's own tasks do not count: 1 of 1, and nothing to say but a line in its log."""
    worker = start_worker(redis.url, app="tests.support.apps.plain_jobs:monitored")
    web = make_app(celery_app, cache_seconds=0)
    worker.wait_for(r"INFO.* all 1 tasks are counted")
    assert details(web) == {"tasks_registered": 1, "tasks_counted": 1, "tasks_not_counted": []}
    assert probe(web).notes == ""


def test_a_worker_that_counts_nothing_is_told_of_once_in_the_log(
    redis: RedisServer,
    celery_app: Celery,
    make_app: Callable[..., Flask],
    start_worker: Callable[..., Worker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where no task is a MonitoredTask, the worker has none of our code: the web process says what is missing."""
    worker = start_worker(redis.url, app="tests.support.apps.plain_jobs:app")
    web = make_app(celery_app, cache_seconds=0)
    sentence = f"{worker.name}: no job is counted (no task is a MonitoredTask)"
    assert details(web) == {"tasks_registered": None, "tasks_counted": 0, "tasks_not_counted": []}
    assert probe(web).notes == sentence
    assert [record.getMessage() for record in caplog.records].count(sentence) == 1
    assert [metric(web, name, worker.name) for name in ("registered", "counted")] == [None, 0]
    command = [sys.executable, "-m", "celery", "-A", "tests.support.apps.plain_jobs:app", "health", "--verbose"]
    done = subprocess.run(
        command, env=celery_environ(redis.url), capture_output=True, text=True, timeout=30, check=True
    )
    assert (done.stdout.count(f"Note: {sentence}\n"), done.stderr) == (1, "")
