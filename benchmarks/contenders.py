"""The tools that count the jobs of ``benchmarks.accuracy``, read as Prometheus does."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from tests.support.exposition import JOB, Exposition
from tests.support.processes import Web, wait_until

from .peers import EXPORTER, FLOWER, Peer, installed

COLUMNS = ("started", "completed", "failed", "retried", "WorkerLostError")
OURS = "celery_health_bp"

#: Name of a series, and the labels to select.
Series = tuple[str, dict[str, str]]


class Counting(Protocol):
    """A process that serves its counts at ``/metrics``."""

    url: str

    def end(self) -> int:
        """End it."""


class Contender:
    """A tool that counts.

    Arguments:
        series: column -> its series. Columns that the tool does not count are missing.
        start: starts its process; ``None`` if it counts in the worker.
        read: returns its exposition, if it has no ``/metrics``.

    Attributes:
        counted: column -> increase so far.
        away_seconds: duration of its restart.
    """

    def __init__(
        self,
        series: Mapping[str, Series],
        start: Callable[[], Counting] | None = None,
        read: Callable[[], Exposition] | None = None,
    ) -> None:
        self._series = series
        self._start = start
        self._server = start() if start else None
        self._read = read
        self._last = dict.fromkeys(series, 0.0)
        self.counted = dict.fromkeys(series, 0.0)
        self.away_seconds = 0.0

    def shown(self) -> Exposition:
        """Return its current exposition."""
        if self._read:
            return self._read()
        assert self._server is not None  # noqa: S101  # for mypy
        return Exposition.read(self._server.url)

    def scrape(self) -> None:
        """Add the increase since the last scrape. A lower value means that the counter was reset."""
        exposition = self.shown()
        for column, (name, labels) in self._series.items():
            now, last = exposition.total(name, **labels), self._last[column]
            self.counted[column] += now - last if now >= last else now
            self._last[column] = now

    def restart(self) -> None:
        """Restart its process, as a deployment does, with a scrape just before and just after."""
        if self._start is None or self._server is None:
            return
        self.scrape()
        began = time.monotonic()
        self._server.end()
        self._server = self._start()
        self.away_seconds = time.monotonic() - began
        self.scrape()

    def end(self) -> None:
        """End its process."""
        if self._server is not None:
            self._server.end()


def contenders(url: str, folder: Path, child_folder: Path, stack: ExitStack) -> dict[str, Contender]:
    """Start all tools that are installed, and return them by name.

    Arguments:
        url: broker of the worker.
        folder: folder for their logs.
        child_folder: ``PROMETHEUS_MULTIPROC_DIR`` of the worker.
        stack: ends them.
    """

    def logs() -> Path:
        return Path(tempfile.mkdtemp(dir=folder))

    found = {OURS: Contender(_ours(), lambda: Web(url, logs()))}
    stack.callback(found[OURS].end)
    peers = {f"{peer.name} {peer.version}": peer for peer in installed(_PEERS)}
    for name, peer in peers.items():
        found[name] = Contender(_PEERS[peer][0], lambda p=peer: p.start(url, logs()))
        stack.callback(found[name].end)
    for name, peer in peers.items():
        heard = _PEERS[peer][1]
        wait_until(lambda n=name, h=heard: found[n].shown().total(h) == 1, f"{name} has heard of the worker", 30)
    found["prometheus_client multiprocess"] = Contender(_child(), read=lambda: _read_files(child_folder))
    return found


def _ours() -> dict[str, Series]:
    return _counters(f"{JOB}_", COLUMNS[:4], "error_type")


def _child() -> dict[str, Series]:
    return _counters("child_", COLUMNS[:4], "error_type")


def _counters(prefix: str, names: tuple[str, ...], label: str) -> dict[str, Series]:
    """Return one counter for each of the first four columns. ``label`` holds the error type."""
    found: dict[str, Series] = {
        column: (f"{prefix}{name}_total", {}) for column, name in zip(COLUMNS, names, strict=False)
    }
    return {**found, "WorkerLostError": (found["failed"][0], {label: "WorkerLostError"})}


_EVENTS = ("started", "succeeded", "failed", "retried")

#: Series of a peer, and the series that is 1 once it has discovered the worker.
_PEERS: dict[Peer, tuple[dict[str, Series], str]] = {
    EXPORTER: (_counters("celery_task_", _EVENTS, "exception"), "celery_worker_up"),
    FLOWER: (
        {
            column: ("flower_events_total", {"type": f"task-{event}"})
            for column, event in zip(COLUMNS, _EVENTS, strict=False)
        },
        "flower_worker_online",
    ),
}


def _read_files(folder: Path) -> Exposition:
    """Return the exposition of the files of the worker's processes."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return Exposition(generate_latest(registry).decode())
