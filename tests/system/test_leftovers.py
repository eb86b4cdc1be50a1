"""Nothing stays on the broker: not after a normal end, not after a hundred killed checks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from tests.support.processes import ROOT, Worker, celery_environ
from tests.support.servers import RedisServer

#: One check, and a normal end of the interpreter.
ONE_CHECK = """
from tests.support.apps.jobs import app
from celery_health_bp import CeleryHealth, Settings
print(CeleryHealth(lambda: app, Settings()).check().status)
"""


def run(code: str, broker_url: str, *arguments: str) -> list[str]:
    """What a Python process prints, line by line."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command, env=celery_environ(broker_url), cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.splitlines()


def test_a_normal_end_leaves_nothing(redis: RedisServer, start_worker: Callable[..., Worker]) -> None:
    """A process that asked and ends leaves no key of its own, and ends at once."""
    start_worker(redis.url, pool="solo")
    before = set(redis.client().keys())
    assert run(ONE_CHECK, redis.url) == ["healthy"]
    assert set(redis.client().keys()) <= before
