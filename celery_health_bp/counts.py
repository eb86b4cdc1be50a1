"""Counters and histograms by kind, task, detail and customer: the content of ledgers and stores. No I/O.

Stores and replies are open to other writers, so values that cannot be read are
skipped and counted as ``unreadable``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

#: Kind of event -> name of its label besides task_name and customer_id.
COUNTERS: dict[str, str | None] = {
    "started": None,
    "completed": None,
    "failed": "error_type",
    "retried": "error_type",
    "aborted": "reason",
    "discarded": "reason",
}
#: Kind of event -> the histogram that observes its seconds.
HISTOGRAM_OF = {"completed": "duration", "started": "queue_wait"}
HISTOGRAMS = tuple(HISTOGRAM_OF.values())

#: Longest task name, and longest value of any other label, in characters.
MAX_TASK_NAME, MAX_LABEL = 255, 64
#: Most error types of a task's failures, and of its retries; further ones count as ``other``.
MAX_ERROR_TYPES = 100

#: Largest valid number. Scripts in Redis would round a larger one.
MAX_NUMBER = 2**53

#: Detail of the field that holds the sum of a histogram, and kind of the field that holds ``internal_errors``.
SUM, INTERNAL_ERRORS = "sum", "internal_errors"


def label_text(text: str, characters: int) -> str:
    """Return a text as a valid label value.

    NUL, which separates the parts of a field, and lone surrogates become ``?``.

    Arguments:
        text: any text.
        characters: maximum length of the result.
    """
    return text[:characters].replace("\0", "?").encode("utf-8", "replace").decode()


class Series(NamedTuple):
    """Identifies one counter; ``detail`` is the error type, the reason, or empty."""

    kind: str
    task_name: str
    detail: str
    customer_id: str


@dataclass
class Histogram:
    """A histogram of seconds.

    Attributes:
        buckets: upper bound -> number of observations above the previous bound; the last bound is ``inf``.
        sum_seconds: sum of all observations.
    """

    buckets: Counter[float] = field(default_factory=Counter)
    sum_seconds: float = 0.0

    def observe(self, seconds: float, bounds: Sequence[float]) -> None:
        """Count one observation.

        Arguments:
            seconds: the observation.
            bounds: upper bounds in seconds, ascending, without ``inf``.
        """
        index = bisect_left(bounds, seconds)
        self.buckets[bounds[index] if index < len(bounds) else float("inf")] += 1
        self.sum_seconds += seconds


@dataclass
class Counts:
    """Counts of a worker since its last flush, or of a whole fleet.

    Attributes:
        counters: number of events of each series.
        histograms: name and task -> histogram.
        internal_errors: exceptions in this package while it counted.
        unreadable: number of skipped values.
    """

    counters: Counter[Series] = field(default_factory=Counter)
    histograms: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    internal_errors: int = 0
    unreadable: int = 0

    def __len__(self) -> int:
        """Number of values that a store keeps for these counts."""
        numbers = sum(len(found.buckets) + 1 for found in self.histograms.values())
        return len(self.counters) + numbers + bool(self.internal_errors)

    @property
    def events(self) -> int:
        """Number of events."""
        return sum(self.counters.values()) + self.internal_errors

    def histogram(self, name: str, task_name: str) -> Histogram:
        """Return the histogram of a task; create it on first use."""
        found = self.histograms.get((name, task_name))
        if found is None:
            found = self.histograms[name, task_name] = Histogram()
        return found

    def parts(self, size: int) -> list[Counts]:
        """Split the counts.

        Arguments:
            size: most values in a part, at least 2.

        Returns:
            The parts; none for empty counts. A histogram may be divided.
        """
        if len(self) <= size:
            return [self] if self else []
        counters = iter(self.counters.items())
        parts = [Counts(internal_errors=self.internal_errors)] if self.internal_errors else []
        while portion := dict(islice(counters, size)):
            parts.append(Counts(Counter(portion)))
        for key, histogram in self.histograms.items():
            buckets, seconds = iter(histogram.buckets.items()), histogram.sum_seconds
            while bounds := dict(islice(buckets, size - 1)):
                if not parts or len(parts[-1]) + len(bounds) + 1 > size:
                    parts.append(Counts())
                parts[-1].histograms[key] = Histogram(Counter(bounds), seconds)
                seconds = 0.0
        return parts

    def to_rows(self) -> dict[str, list[list[Any]]]:
        """Return the counts as plain lists, for a reply in JSON."""
        return {
            "counters": [[*series, number] for series, number in self.counters.items()],
            "buckets": [
                [*key, repr(bound), number]
                for key, found in self.histograms.items()
                for bound, number in found.buckets.items()
            ],
            "sums": [[*key, found.sum_seconds] for key, found in self.histograms.items()],
            "internal_errors": [[self.internal_errors]],
        }

    @classmethod
    def from_rows(cls, rows: Mapping[str, list[list[Any]]]) -> Counts:
        """Restore counts from ``to_rows``; skip values that cannot be read."""
        return cls.from_fields(_fields_of(rows))

    @classmethod
    def from_fields(cls, fields: Iterable[tuple[bytes, Any]]) -> Counts:
        """Restore counts from the fields of a store.

        Ignore kinds of a newer version. Skip values that cannot be read, with all other values of their histogram.

        Arguments:
            fields: pairs of ``KIND NUL TASK NUL DETAIL NUL CUSTOMER`` in UTF-8, and the number.
        """
        counts, unreadable = cls(), set[tuple[str, str]]()
        counters = counts.counters
        for field_name, value in fields:
            key = "", ""
            try:
                kind, task, detail, customer = field_name.decode().split("\0")
                if kind in COUNTERS:
                    number = int(value)
                    if not 0 <= number <= MAX_NUMBER:
                        raise ValueError
                    counters[Series(kind, task, detail, customer)] = number
                elif kind in HISTOGRAMS:
                    key = kind, task
                    counts._put(key, detail, value)
                elif kind == INTERNAL_ERRORS:
                    counts.internal_errors = _checked(int(value))
            except (ValueError, TypeError, OverflowError):
                counts.unreadable += 1
                unreadable.add(key)
        for key in unreadable & counts.histograms.keys():
            del counts.histograms[key]
        return counts

    def _put(self, key: tuple[str, str], detail: str, value: Any) -> None:
        if detail == SUM:
            seconds = _checked(float(value))
            self.histogram(*key).sum_seconds = seconds
        else:
            bound, number = float(detail), _checked(int(value))
            if not bound > 0:
                raise ValueError
            self.histogram(*key).buckets[bound] += number


def _checked(number: Any) -> Any:
    if not 0 <= number <= MAX_NUMBER:
        raise ValueError
    return number


def _fields_of(rows: Mapping[str, list[list[Any]]]) -> Iterator[tuple[bytes, Any]]:
    """Convert rows of ``Counts.to_rows`` to fields; a malformed row becomes an empty, hence unreadable, field."""
    ends = {"counters": [], "buckets": [""], "sums": [SUM, ""]}
    for name, end in ends.items():
        for row in rows[name]:
            try:
                *texts, number = row
                yield "\0".join([*texts, *end]).encode(), number
            except (ValueError, TypeError):
                yield b"", 0
    yield f"{INTERNAL_ERRORS}\0\0\0".encode(), rows["internal_errors"][0][0]
