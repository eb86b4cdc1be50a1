"""``flask celery-health`` in a process, without workers: exit codes and output."""

from __future__ import annotations

import json

import pytest

from tests.support.flask_command import run
from tests.support.servers import RedisServer


def test_without_workers_the_exit_code_is_1(redis: RedisServer) -> None:
    """Without workers the status is UNHEALTHY, the advice has the command to start one, and the exit code is 1."""
    done = run(redis.url, "--timeout", "0.5")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[0] == "UNHEALTHY: No active Celery workers found"
    assert "Recommendation: Start Celery workers: celery -A upstream worker --loglevel=info" in done.stdout


def test_without_a_broker_the_exit_code_is_1(redis: RedisServer) -> None:
    """Without a broker the first line names transport, host and port, and no line has the password."""
    redis.stop()
    done = run(redis.url.replace("127.0.0.1", ":hunter2@127.0.0.1"))
    first = f"UNHEALTHY: Broker redis://127.0.0.1:{redis.port} refused the connection"
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, first)
    assert "hunter2" not in done.stdout + done.stderr


def test_json_is_the_body_of_health(redis: RedisServer) -> None:
    """``--format json`` prints the body of ``health/`` only."""
    done = run(redis.url, "--format", "json", "--timeout", "0.5")
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
def test_wrong_usage_exits_with_2(
    redis: RedisServer, options: list[str], environ: dict[str, str], message: str
) -> None:
    """Wrong usage exits with 2, with a message on standard error and no traceback."""
    done = run(redis.url, *options, **environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pipe_gets_no_colour(redis: RedisServer) -> None:
    """Output that is not a terminal has no escape codes."""
    assert "\x1b" not in run(redis.url, "--timeout", "0.5").stdout
