"""Asking for health as a probe does, with a clock; and what a process holds."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import Any

from celery import Celery
from flask import Flask

from tests.support.processes import wait_until

PATH = "/api/celery/health/"


@dataclass(frozen=True)
class Probe:
    """One answer of ``health/?verbose=1`` and how long it took in seconds."""

    status: int
    body: dict[str, Any]
    seconds: float

    @property
    def error(self) -> str:
        """Why it is unhealthy."""
        found: str = self.body["workers"].get("error", "")
        return found

    @property
    def workers(self) -> list[str]:
        """Who is active."""
        found: list[str] = self.body["workers"]["active_workers"]
        return found

    @property
    def notes(self) -> str:
        """The sentences of ``details`` on what was not known."""
        return "\n".join(self.body["details"]["not_known"])

    @property
    def advice(self) -> str:
        """The recommendations."""
        return "\n".join(self.body["recommendations"])


def probe(app: Flask) -> Probe:
    """Ask once."""
    client = app.test_client()
    began = time.monotonic()
    answer = client.get(PATH, query_string={"verbose": "1"})
    seconds = time.monotonic() - began
    return Probe(answer.status_code, answer.get_json(), seconds)


def wait_for_workers(broker_url: str, count: int = 1) -> None:
    """Wait until so many workers answer Celery's own ping: the fault is over for them."""
    with Celery(broker=broker_url) as stock:

        def answered() -> bool:
            try:
                return len(stock.control.broadcast("ping", reply=True, limit=count, timeout=1) or ()) >= count
            except stock.connection_for_write().connection_errors:
                return False

        wait_until(answered, f"{count} workers answer again", 40)


def held() -> tuple[int, int]:
    """How many threads and file descriptors this process has."""
    return threading.active_count(), len(os.listdir("/proc/self/fd"))
