"""Ask for health as a probe does and measure the time; count what this process holds."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from celery import Celery
from flask import Flask
from flask.testing import FlaskClient

from tests.support.processes import wait_until

#: Prefix of the API in the applications of the tests.
BASE = "/api/celery"
PATH = f"{BASE}/health/"
#: ``timeout_seconds`` of the tests that assert a deadline.
TIMEOUT = 1.0


@dataclass(frozen=True)
class Probe:
    """A response of ``health/?verbose=1``, and how many seconds it took."""

    status: int
    body: dict[str, Any]
    seconds: float

    @property
    def error(self) -> str:
        """The reason of an unhealthy status."""
        found: str = self.body["workers"].get("error", "")
        return found

    @property
    def workers(self) -> list[str]:
        """Names of the active workers."""
        found: list[str] = self.body["workers"]["active_workers"]
        return found

    @property
    def notes(self) -> str:
        """The sentences of ``details`` on unknown facts, one a line."""
        return "\n".join(self.body["details"]["not_known"])

    @property
    def advice(self) -> str:
        """The recommendations, one a line."""
        return "\n".join(self.body["recommendations"])


def probe(app: Flask) -> Probe:
    """Send one request to ``health/?verbose=1``."""
    client = app.test_client()
    began = time.monotonic()
    answer = client.get(PATH, query_string={"verbose": "1"})
    seconds = time.monotonic() - began
    return Probe(answer.status_code, answer.get_json(), seconds)


def in_time(found: Probe, seconds: float = TIMEOUT) -> bool:
    """Return whether a probe took at most ``timeout_seconds`` and a fifth, as documented."""
    return found.seconds <= seconds * 1.2


def statuses(ask: Callable[[], int], times: int, threads: int) -> Counter[int]:
    """Call ``ask`` so many times from so many threads, and count the statuses that it returns."""
    with ThreadPoolExecutor(threads) as pool:
        return Counter(future.result() for future in [pool.submit(ask) for _ in range(times)])


def store_notes(app: Flask) -> list[str]:
    """Return the notes on workers whose store differs from this process's; the status must be healthy."""
    found = probe(app)
    assert (found.status, found.body["status"]) == (200, "healthy")
    return [note for note in found.notes.splitlines() if note.startswith("Job totals of")]


def get(client: FlaskClient, path: str, **arguments: Any) -> tuple[int, Any]:
    """Send a GET for a path below the API's prefix, and return status and JSON body."""
    response = client.get(f"{BASE}/{path}", **arguments)
    return response.status_code, response.get_json()


def wait_for_workers(broker_url: str, count: int = 1) -> None:
    """Wait until so many workers reply to Celery's own ping."""
    with Celery(broker=broker_url) as stock:

        def answered() -> bool:
            try:
                return len(stock.control.broadcast("ping", reply=True, limit=count, timeout=1) or ()) >= count
            except stock.connection_for_write().connection_errors:
                return False

        wait_until(answered, f"{count} workers answer again", 40)


def held() -> tuple[int, int]:
    """Return the number of threads and of file descriptors of this process."""
    return threading.active_count(), len(os.listdir("/proc/self/fd"))
