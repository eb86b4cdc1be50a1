"""What benchmarks play on: a Redis of their own, WSGI applications asked without a server, families in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import Metric
from prometheus_client.registry import Collector
from redis import Redis
from werkzeug.test import EnvironBuilder, run_wsgi_app

from tests.support.servers import RedisServer

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class Families(Collector):
    """Metric families that are there already: what is left to do is writing the text."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """The same ones each time."""
        return self._families

    @property
    def series(self) -> int:
        """Lines of their text that hold a number."""
        return sum(len(family.samples) for family in self._families)


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A Redis on a free port, with nothing in it."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        try:
            yield server
        finally:
            server.stop()


def getter(application: WSGIApplication, path: str = "/", **headers: str) -> Callable[[], bytes]:
    """Asks an application for one path, as a server would; headers as ``Accept_Encoding="gzip"``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    environ = EnvironBuilder(path=path, headers=named).get_environ()

    def get() -> bytes:
        body, status, _ = run_wsgi_app(application, dict(environ), buffered=True)
        if not status.startswith("200"):
            raise RuntimeError(f"{path} answered {status}")
        return b"".join(body)

    return get


def traffic(redis: Redis, action: Callable[[], object]) -> int:
    """Bytes that went in and out of a Redis while the action ran, from and to everybody."""

    def moved() -> int:
        stats = redis.info("stats")
        return int(stats["total_net_input_bytes"]) + int(stats["total_net_output_bytes"])

    before = moved()
    between = moved()
    action()
    return moved() - between - (between - before)
