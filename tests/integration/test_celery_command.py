"""``celery -A proj health`` without workers: exit codes, output, ``--watch`` and advice."""

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

import pytest

from tests.support.celery_command import CELERY, COMMAND, run, run_arguments
from tests.support.processes import ROOT, celery_environ
from tests.support.servers import RedisServer

pytestmark = pytest.mark.measured


def test_it_does_not_import_flask() -> None:
    """The command can be imported without Flask."""
    code = "import sys; from celery_health_bp.cli.celery import health; print('flask' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_wrong_setting_exits_with_2_and_is_unknown_for_nagios(redis: RedisServer) -> None:
    """A setting that is not allowed ends the command with 2, and with 3 and UNKNOWN for Nagios."""
    wrong = {"CELERY_HEALTH_MIN_WORKERS": "few"}
    done = run(redis.url, **wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: CELERY_HEALTH_MIN_WORKERS='few' is not allowed")
    done = run(redis.url, "--nagios", **wrong)
    assert (done.returncode, done.stdout.split(" - ")[0]) == (3, "CELERY UNKNOWN")


def test_watch_fits_the_terminal_and_shows_the_time(redis: RedisServer) -> None:
    """On a terminal each check starts with its time, fits the screen, and ends with the number of lines left out."""
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
def test_a_terminal_gets_colour(redis: RedisServer, environ: dict[str, str], coloured: bool) -> None:
    """On a terminal the status is coloured, unless NO_COLOR is set."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "--timeout", "0.5"], env=celery_environ(redis.url, environ), cwd=ROOT, stdout=theirs
    )
    os.close(theirs)
    assert process.wait(20) == 1
    text = os.read(ours, 10_000).decode()
    os.close(ours)
    assert ("\x1b[31m" in text) == coloured


def test_json_can_be_piped(redis: RedisServer) -> None:
    """With ``--format json`` standard output is one JSON document."""
    assert json.loads(run(redis.url, "--format", "json", "--timeout", "0.5").stdout)["status"] == "unhealthy"


@pytest.mark.parametrize(
    ("start", "environ", "argument"),
    [
        (["-A", "tests.support.apps.jobs:app"], {}, "tests.support.apps.jobs:app"),
        (["--app=tests.support.apps.jobs"], {"CELERY_APP": "tests.support.apps.foreign"}, "tests.support.apps.jobs"),
        ([], {"CELERY_APP": "tests.support.apps.jobs:app"}, "tests.support.apps.jobs:app"),
        (["-A", "tests.support.apps.jobs"], {"CELERY_HEALTH_CELERY_APP_ARGUMENT": "proj"}, "proj"),
        ([], {}, "APP"),
    ],
)
def test_the_advice_repeats_the_app_argument(
    redis: RedisServer, start: list[str], environ: dict[str, str], argument: str
) -> None:
    """The advice to start a worker has the ``-A`` of this command, unless ``celery_app_argument`` is set."""
    done = run_arguments([*CELERY, *start, "health", "--timeout", "0.5"], redis.url, environ)
    assert f"Recommendation: Start Celery workers: celery -A {argument} worker --loglevel=info" in done.stdout
