"""``flask celery-health`` as people and scripts run it: a subprocess."""

from __future__ import annotations

import json

import pytest

from tests.support.flask_command import run
from tests.support.servers import RedisServer


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


def test_a_pipe_gets_no_colour(redis: RedisServer) -> None:
    """Colour codes are for terminals alone."""
    assert "\x1b" not in run(redis.url, "--timeout", "1").stdout
