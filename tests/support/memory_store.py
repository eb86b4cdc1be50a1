"""A store of job totals in memory, with the same ``Store`` protocol as the Redis store."""

from __future__ import annotations

from copy import deepcopy
from uuid import uuid4

from celery_health_bp.counts import Counts
from celery_health_bp.errors import StoreUnavailable
from celery_health_bp.stores import Added


class MemoryStore:
    """Keep totals in memory; fail on demand.

    Attributes:
        error: every call that uses the server raises this while it is set.
        loses_replies: add each batch, then fail as if the reply were lost.
        missed: what the next ``add`` reports as lost.
        warnings: what ``dangers`` returns.
        tried: writer and sequence of each call of ``add``, failed calls included.
        asked: how often ``identity`` was called.
        closed: how often ``close`` was called.
    """

    place, keys = "redis://memory:6379/0", "{test}"

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.loses_replies = False
        self.missed = Added()
        self.warnings: tuple[str, ...] = ()
        self.tried: list[tuple[str, int]] = []
        self.asked = 0
        self.closed = 0
        self._identity: str | None = None
        self._totals = Counts()
        self._sequences: dict[str, int] = {}

    def __str__(self) -> str:
        return "the store in memory"

    def add(self, writer: str, sequence: int, counts: Counts) -> Added:
        """Add a batch once for each writer and sequence."""
        self.tried.append((writer, sequence))
        self._fail()
        if sequence > self._sequences.get(writer, 0):
            self._sequences[writer] = sequence
            self._add(counts)
        if self.loses_replies:
            raise away()
        missed, self.missed = self.missed, Added()
        return missed

    def totals(self, timeout_seconds: float = 2.0) -> Counts:
        """Return a copy of all counts."""
        self._fail()
        return deepcopy(self._totals)

    def identity(self, *, create: bool = False) -> str | None:
        """Return the id of the store."""
        self.asked += 1
        self._fail()
        if create and self._identity is None:
            self._identity = uuid4().hex
        return self._identity

    def empty(self) -> None:
        """Lose everything, the id too."""
        self._identity, self._totals, self._sequences = None, Counts(), {}

    def dangers(self) -> tuple[str, ...]:
        """Return ``warnings``."""
        return self.warnings

    def close(self) -> None:
        """Count the call."""
        self.closed += 1

    def _add(self, counts: Counts) -> None:
        self._totals.counters.update(counts.counters)
        self._totals.internal_errors += counts.internal_errors
        for key, histogram in counts.histograms.items():
            found = self._totals.histogram(*key)
            found.buckets.update(histogram.buckets)
            found.sum_seconds += histogram.sum_seconds

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


def away() -> StoreUnavailable:
    """Return the error of a store that cannot be reached."""
    return StoreUnavailable("job totals: the store in memory cannot be reached", "ConnectionRefusedError")


def refused() -> StoreUnavailable:
    """Return the error of a store that answers and refuses the call."""
    return StoreUnavailable("job totals: the store in memory refuses", "NoPermissionError", refused=True)
