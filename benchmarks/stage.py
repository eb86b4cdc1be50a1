"""Environment of the benchmarks: a separate Redis, WSGI calls without a server, metric families in memory."""

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
    """A collector of existing metric families, so that a scrape only writes the text."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """Return the same families each time."""
        return self._families

    @property
    def series(self) -> int:
        """Number of samples."""
        return sum(len(family.samples) for family in self._families)


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Start an empty Redis on a free port."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        try:
            yield server
        finally:
            server.stop()


def getter(application: WSGIApplication, path: str = "/", **headers: str) -> Callable[[], bytes]:
    """Return a function that requests one path of an application. Pass headers as ``Accept_Encoding="gzip"``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    environ = EnvironBuilder(path=path, headers=named).get_environ()

    def get() -> bytes:
        body, status, _ = run_wsgi_app(application, dict(environ), buffered=True)
        if not status.startswith("200"):
            raise RuntimeError(f"{path} answered {status}")
        return b"".join(body)

    return get


def traffic(redis: Redis, action: Callable[[], object]) -> int:
    """Return the bytes of all clients that went in and out of a Redis while the action ran."""

    def moved() -> int:
        stats = redis.info("stats")
        return int(stats["total_net_input_bytes"]) + int(stats["total_net_output_bytes"])

    before = moved()
    between = moved()
    action()
    return moved() - between - (between - before)
