"""``celery -A proj health`` with live workers."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery

from tests.support.celery_command import COMMAND, run
from tests.support.processes import ROOT, Process, Worker, celery_environ, wait_until
from tests.support.servers import RedisServer

pytestmark = pytest.mark.measured


def test_its_output_is_that_of_the_flask_command(idle_fleet: RedisServer) -> None:
    """Output and exit code equal those of ``flask celery-health``, in both formats."""
    flask = [sys.executable, "-m", "flask", "--app", "tests.support.web:create_app()", "celery-health"]
    for options in ([], ["--format", "json"]):
        ours = run(idle_fleet.url, *options)
        theirs = subprocess.run(
            [*flask, *options],
            env=celery_environ(idle_fleet.url),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)
        assert ours.returncode == 0


@pytest.mark.parametrize(
    ("workers", "threshold", "line", "code"),
    [
        (
            1,
            "1000",
            "CELERY OK - 1 worker answers, no queue is longer than 1000 | workers=1;;1: 'queue_other'=0;1000",
            0,
        ),
        (1, "0", "CELERY WARNING - 1 worker answers; Queue celery holds 1 messages", 1),
        (0, "1000", "CELERY CRITICAL - No active Celery workers found | workers=0;;1: 'queue_celery'=1;1000", 2),
    ],
)
def test_nagios_prints_one_line_and_uses_nagios_exit_codes(
    redis: RedisServer, start_worker: Callable[..., Worker], workers: int, threshold: str, line: str, code: int
) -> None:
    """``--nagios`` prints one line, and exits with 0, 1 or 2 by status."""
    if workers:
        start_worker(redis.url, "-Q", "other")
    if threshold == "0" or not workers:
        Celery("upstream", broker=redis.url).send_task("tests.support.apps.jobs.work", queue="celery")
    queues = {"CELERY_HEALTH_QUEUES": "other"} if (workers, threshold) == (1, "1000") else {}
    done = run(redis.url, "--nagios", "--timeout", "1", CELERY_HEALTH_QUEUE_LENGTH_THRESHOLD=threshold, **queues)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (code, "", 1)
    assert done.stdout.startswith(line)


def test_watch_checks_again_until_interrupted(
    redis: RedisServer, start_worker: Callable[..., Worker], started: list[Process], tmp_path: Path
) -> None:
    """``--watch`` reports a new worker, and exits on Ctrl-C with the code of the last status."""
    watch = Process([*COMMAND, "--watch", "0.2", "--timeout", "1"], tmp_path / "watch", celery_environ(redis.url))
    started.append(watch)
    watch.wait_for(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\nUNHEALTHY: No active Celery workers found")
    start_worker(redis.url)
    watch.wait_for("\nHEALTHY: 1 worker answers")
    watch.send_signal(signal.SIGINT)
    assert watch.wait() == 0
    assert "Traceback" not in watch.output()


def test_verbose_fits_80_columns(redis: RedisServer, start_worker: Callable[..., Worker]) -> None:
    """All tables of ``--verbose`` fit 80 columns; only notes may be longer."""
    start_worker(redis.url)
    client = Celery("upstream", broker=redis.url)
    running = client.send_task("tests.support.apps.jobs.work", kwargs={"seconds": 20})
    later = client.send_task("tests.support.apps.jobs.fail", countdown=600)
    wait_until(lambda: running.id in run(redis.url, "--verbose").stdout, "the job runs")
    lines = run(redis.url, "--verbose").stdout.splitlines()
    assert max(len(line) for line in lines if not line.startswith("Note: ")) <= 80
    assert any("tests.support.apps.jobs.work" in line for line in lines)
    assert any(later.id in line for line in lines)
    assert "QUEUE   LENGTH  THRESHOLD  CONSUMERS" in lines
