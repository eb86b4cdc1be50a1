"""Tasks of a worker that are not counted, because ``MonitoredTask`` was forgotten."""

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

#: A task name, cut to the longest that is shown.
LONG = f"jobs.{'a' * 95}"


def test_uncounted_tasks_are_named_in_every_output(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """With 7 of 8 tasks uncounted, the worker's log, the details, a note, the command and the metrics report it."""
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


def test_a_worker_whose_tasks_are_all_counted_has_no_note(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """Celery's own tasks are left out: 1 of 1 is counted, with a line in the worker's log and no note."""
    worker = start_worker(redis.url, app="tests.support.apps.plain_jobs:monitored")
    web = make_app(celery_app, cache_seconds=0)
    worker.wait_for(r"INFO.* all 1 tasks are counted")
    assert details(web) == {"tasks_registered": 1, "tasks_counted": 1, "tasks_not_counted": []}
    assert probe(web).notes == ""


def test_a_worker_that_counts_nothing_is_logged_once(
    redis: RedisServer,
    celery_app: Celery,
    make_app: Callable[..., Flask],
    start_worker: Callable[..., Worker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The web process reports a worker without any ``MonitoredTask``, in a note and in one log line."""
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
