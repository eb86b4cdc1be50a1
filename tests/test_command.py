"""``flask celery-health`` as people and scripts run it: a subprocess."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from celery import Celery

from celery_health_bp.versions import DIFFERENCES

from .processes import ROOT, Worker, celery_environ, wait_until
from .servers import RedisServer

POOL = "prefork" if DIFFERENCES["pool_implementation"].holds else "?"


def run(broker_url: str, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command on the application of ``tests.web``."""
    command = [sys.executable, "-m", "flask", "--app", "tests.web:create_app()", "celery-health", *options]
    return subprocess.run(
        command,
        env=celery_environ(broker_url, environ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_live_fleet_is_healthy_with_exit_code_0(redis: RedisServer, start_worker: Callable[..., Worker]) -> None:
    """The first line says HEALTHY and why; standard error is empty; the exit code is 0."""
    start_worker(redis.url)
    done = run(redis.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "HEALTHY: 1 worker answers, no queue is longer than 1000",
        "Queues: celery 0",
        "Workers: worker1@testhost",
    ]


def test_verbose_shows_workers_and_their_tasks(redis: RedisServer, start_worker: Callable[..., Worker]) -> None:
    """``--verbose`` has a table of workers, of running and of scheduled tasks, and no arguments of theirs."""
    start_worker(redis.url)
    client = Celery("upstream", broker=redis.url)
    running = client.send_task("tests.jobs.work", kwargs={"seconds": 20, "customer_id": "sekrit"})
    later = client.send_task("tests.jobs.fail", args=["sekrit"], countdown=600)
    wait_until(lambda: running.id in run(redis.url, "--verbose").stdout, "the job runs")
    text = run(redis.url, "--verbose").stdout
    shown = [line.split() for line in text.splitlines()]
    assert ["WORKER", "POOL", "SIZE", "ACTIVE", "RESERVED", "COUNTED", "QUEUES"] in shown
    assert ["worker1@testhost", POOL, "2", "1", "0", "16/17", "celery"] in shown
    assert later.id in text
    assert "sekrit" not in text


def test_a_long_queue_is_degraded_with_exit_code_0(redis: RedisServer, start_worker: Callable[..., Worker]) -> None:
    """A queue above the threshold is DEGRADED, which is no failure."""
    Celery("upstream", broker=redis.url).send_task("tests.jobs.work", queue="celery")
    start_worker(redis.url, "-Q", "other")
    done = run(redis.url, CELERY_HEALTH_QUEUE_LENGTH_THRESHOLD="0")
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "DEGRADED")
    assert "Recommendation: Queue celery holds 1 messages" in done.stdout


def test_no_worker_is_unhealthy_with_exit_code_1(redis: RedisServer) -> None:
    """Without workers the verdict is UNHEALTHY, says how to start one, and the exit code is 1."""
    done = run(redis.url, "--timeout", "1")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[0] == "UNHEALTHY: No active Celery workers found"
    assert "Recommendation: Start Celery workers: celery -A upstream worker --loglevel=info" in done.stdout


def test_no_broker_is_unhealthy_with_exit_code_1(redis: RedisServer) -> None:
    """Without a broker the verdict names transport, host and port, and never the password."""
    redis.stop()
    done = run(redis.url.replace("127.0.0.1", ":hunter2@127.0.0.1"))
    first = f"UNHEALTHY: Broker redis://127.0.0.1:{redis.port} refused the connection"
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, first)
    assert "hunter2" not in done.stdout + done.stderr


def test_json_is_the_body_of_health(redis: RedisServer) -> None:
    """``--format json`` prints the body of ``health/`` and nothing else."""
    done = run(redis.url, "--format", "json", "--timeout", "1")
    assert json.loads(done.stdout) == {
        "status": "unhealthy",
        "workers": {"healthy": False, "active_workers": [], "error": "No active Celery workers found"},
        "queues": {"celery": 0},
        "recommendations": ["Start Celery workers: celery -A upstream worker --loglevel=info"],
    }


@pytest.mark.parametrize(
    ("options", "environ", "message"),
    [
        (["--timeout", "0"], {}, "0.0 is not in the range 0<x<=86400"),
        (["--timeout", "1e10"], {}, "10000000000.0 is not in the range 0<x<=86400"),
        (["--timeout", "nan"], {}, "timeout_seconds=nan is not allowed: give a number above 0"),
        (["--watch", "nan"], {}, "--watch takes seconds from 0.1 to 86400"),
        (["--format", "xml"], {}, "'xml' is not one of 'text', 'json'"),
        (["--nothing"], {}, "No such option"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    redis: RedisServer, options: list[str], environ: dict[str, str], message: str
) -> None:
    """What the user got wrong is told on standard error, with the exit code that is never a verdict."""
    done = run(redis.url, *options, **environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nagios", "--format", "json"], "--nagios and --format json exclude each other"),
        (["--nagios", "--nothing"], "No such option"),
        (["--timeout", "x|y\n", "--nagios"], "Invalid value for '--timeout': 'x/y\\n' is not a valid float"),
    ],
)
def test_nagios_is_told_of_wrong_usage_as_unknown(options: list[str], message: str) -> None:
    """2 is CRITICAL to Nagios: usage that is wrong is one line on standard output, and exit code 3."""
    done = run("memory://", *options)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (3, 1, "")
    assert done.stdout.startswith(f"CELERY UNKNOWN - {message}")


def test_nagios_is_told_of_a_crash_as_unknown() -> None:
    """An exception of the user's factory is no verdict: exit code 3 and its type, the traceback on standard error."""
    crash = "from celery_health_bp.cli.command import *; health_command(lambda: 1/0, 'x').main(['--nagios'])"
    done = subprocess.run([sys.executable, "-c", crash], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (3, "CELERY UNKNOWN - ZeroDivisionError: see the traceback\n")
    assert "ZeroDivisionError: division by zero" in done.stderr


def test_verbose_json_has_the_tasks(redis: RedisServer, start_worker: Callable[..., Worker]) -> None:
    """Running and scheduled tasks stand beside the body of ``health/`` as in ``tasks/``; not known is null."""
    options = ("--format", "json", "--verbose", "--timeout", "1")
    nobody = json.loads(run(redis.url, *options).stdout)
    assert (nobody["running"], nobody["scheduled"], nobody["running_count"]) == (None, None, None)
    start_worker(redis.url)
    client = Celery("upstream", broker=redis.url)
    running = client.send_task("tests.jobs.work", kwargs={"seconds": 20, "customer_id": "sekrit"})
    later = client.send_task("tests.jobs.fail", args=["sekrit"], countdown=600)

    def both_known() -> bool:
        done = run(redis.url, *options)
        assert "sekrit" not in done.stdout
        body = json.loads(done.stdout)
        ids = [[task["task_id"] for task in body[key]] for key in ("running", "scheduled")]
        return (ids, body["running_count"], "details" in body) == ([[running.id], [later.id]], 1, True)

    wait_until(both_known, "both tasks are in the JSON")


def test_a_pipe_gets_no_colour(redis: RedisServer) -> None:
    """Colour codes are for terminals alone."""
    assert "\x1b" not in run(redis.url, "--timeout", "1").stdout
