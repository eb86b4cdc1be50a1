"""``celery -A proj health``: what only this one of the three has, and the options they share."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery

from .processes import ROOT, Process, Worker, celery_environ, wait_until
from .servers import RedisServer

pytestmark = pytest.mark.measured

COMMAND = [sys.executable, "-m", "celery", "-A", "tests.jobs:app", "health"]


def run(broker_url: str, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command on the app of ``tests.jobs``."""
    return subprocess.run(
        [*COMMAND, *options],
        env=celery_environ(broker_url, environ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_it_prints_what_the_flask_command_prints(redis: RedisServer, start_worker: Callable[..., Worker]) -> None:
    """Output, options and exit codes are those of ``flask celery-health``."""
    start_worker(redis.url)
    flask = [sys.executable, "-m", "flask", "--app", "tests.web:create_app()", "celery-health"]
    for options in ([], ["--format", "json"]):
        ours = run(redis.url, *options)
        theirs = subprocess.run(
            [*flask, *options], env=celery_environ(redis.url), cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)
        assert ours.returncode == 0


def test_it_loads_no_flask(redis: RedisServer) -> None:
    """A machine without Flask can run it."""
    code = "import sys; from celery_health_bp.cli.celery import health; print('flask' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


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
def test_nagios_gets_one_line_with_its_own_exit_codes(
    redis: RedisServer, start_worker: Callable[..., Worker], workers: int, threshold: str, line: str, code: int
) -> None:
    """``--nagios`` prints one line with perfdata and exits 0, 1 or 2."""
    if workers:
        start_worker(redis.url, "-Q", "other")
    if threshold == "0" or not workers:
        Celery("upstream", broker=redis.url).send_task("tests.jobs.work", queue="celery")
    queues = {"CELERY_HEALTH_QUEUES": "other"} if (workers, threshold) == (1, "1000") else {}
    done = run(redis.url, "--nagios", "--timeout", "1", CELERY_HEALTH_QUEUE_LENGTH_THRESHOLD=threshold, **queues)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (code, "", 1)
    assert done.stdout.startswith(line)


def test_a_wrong_setting_is_usage_and_unknown_to_nagios(redis: RedisServer) -> None:
    """A setting that is not allowed is no verdict: exit code 2, and 3 for Nagios."""
    wrong = {"CELERY_HEALTH_MIN_WORKERS": "few"}
    done = run(redis.url, **wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: CELERY_HEALTH_MIN_WORKERS='few' is not allowed")
    done = run(redis.url, "--nagios", **wrong)
    assert (done.returncode, done.stdout.split(" - ")[0]) == (3, "CELERY UNKNOWN")


def test_watch_checks_again_until_interrupted(
    redis: RedisServer, start_worker: Callable[..., Worker], started: list[Process], tmp_path: Path
) -> None:
    """``--watch`` sees a worker come, and Ctrl-C ends it with the exit code of the last verdict."""
    watch = Process([*COMMAND, "--watch", "0.2", "--timeout", "1"], tmp_path / "watch", celery_environ(redis.url))
    started.append(watch)
    watch.wait_for(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\nUNHEALTHY: No active Celery workers found")
    start_worker(redis.url)
    watch.wait_for("\nHEALTHY: 1 worker answers")
    watch.send_signal(signal.SIGINT)
    assert watch.wait() == 0
    assert "Traceback" not in watch.output()


def test_watch_fits_the_terminal_and_shows_the_time(redis: RedisServer) -> None:
    """On a terminal each check begins with its time, and its lines end with how many more there are."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 5, 50, 0, 0))
    watch = subprocess.Popen(
        [*COMMAND, "--watch", "0.1", "--timeout", "0.1", "--verbose"],
        env=celery_environ(redis.url, {"NO_COLOR": "1"}),
        cwd=ROOT,
        stdout=theirs,
    )
    os.close(theirs)
    text = ""
    while text.count("\x1b[H\x1b[2J") < 3:
        text += os.read(ours, 10_000).decode()
    watch.send_signal(signal.SIGINT)
    assert watch.wait(20) == 1
    os.close(ours)
    screen = text.split("\x1b[H\x1b[2J")[1].splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", screen[0])
    assert screen[1].startswith("UNHEALTHY: ")
    assert sum(-(-len(line) // 50) or 1 for line in screen) <= 4
    assert re.fullmatch(r"\.\.\. \d+ more lines", screen[-1])


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_is_for_terminals(redis: RedisServer, environ: dict[str, str], coloured: bool) -> None:
    """On a terminal the verdict is coloured, unless NO_COLOR is set."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "--timeout", "1"], env=celery_environ(redis.url, environ), cwd=ROOT, stdout=theirs
    )
    os.close(theirs)
    assert process.wait(20) == 1
    text = os.read(ours, 10_000).decode()
    os.close(ours)
    assert ("\x1b[31m" in text) == coloured


def test_verbose_fits_80_columns(redis: RedisServer, start_worker: Callable[..., Worker]) -> None:
    """Workers, queues, running and scheduled tasks are shown in at most 80 columns; a sentence may be longer."""
    start_worker(redis.url)
    client = Celery("upstream", broker=redis.url)
    running = client.send_task("tests.jobs.work", kwargs={"seconds": 20})
    later = client.send_task("tests.jobs.fail", countdown=600)
    wait_until(lambda: running.id in run(redis.url, "--verbose").stdout, "the job runs")
    lines = run(redis.url, "--verbose").stdout.splitlines()
    assert max(len(line) for line in lines if not line.startswith("Note: ")) <= 80
    assert any("tests.jobs.work" in line for line in lines)
    assert any(later.id in line for line in lines)
    assert "QUEUE   LENGTH  THRESHOLD  CONSUMERS" in lines


def test_json_can_be_piped(redis: RedisServer) -> None:
    """Standard output is the report only."""
    assert json.loads(run(redis.url, "--format", "json", "--timeout", "1").stdout)["status"] == "unhealthy"


@pytest.mark.parametrize(
    ("start", "environ", "argument"),
    [
        (["-A", "tests.jobs:app"], {}, "tests.jobs:app"),
        (["--app=tests.jobs"], {"CELERY_APP": "tests.foreign"}, "tests.jobs"),
        ([], {"CELERY_APP": "tests.jobs:app"}, "tests.jobs:app"),
        (["-A", "tests.jobs"], {"CELERY_HEALTH_CELERY_APP_ARGUMENT": "proj"}, "proj"),
        ([], {}, "APP"),
    ],
)
def test_what_it_was_started_with_stands_in_its_advice(
    redis: RedisServer, start: list[str], environ: dict[str, str], argument: str
) -> None:
    """The command to start a worker has the ``-A`` of this command, unless the setting says otherwise."""
    done = subprocess.run(
        [sys.executable, "-m", "celery", *start, "health", "--timeout", "1"],
        env=celery_environ(redis.url, environ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert f"Recommendation: Start Celery workers: celery -A {argument} worker --loglevel=info" in done.stdout
