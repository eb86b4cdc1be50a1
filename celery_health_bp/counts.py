"""What a ledger sends and a store keeps: numbers by kind, task, detail and customer. Pure, no I/O.

They come back over the network, and anybody can write there: what cannot be read is counted
as ``unreadable`` and left out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

#: Kind of count -> name of its label besides task_name and customer_id.
COUNTERS: dict[str, str | None] = {
    "started": None,
    "completed": None,
    "failed": "error_type",
    "retried": "error_type",
    "aborted": "reason",
    "discarded": "reason",
}
#: Kind of count -> the histogram that observes its seconds.
HISTOGRAM_OF = {"completed": "duration", "started": "queue_wait"}
HISTOGRAMS = tuple(HISTOGRAM_OF.values())

#: The longest task name and the longest of all other label values, in characters.
MAX_TASK_NAME, MAX_LABEL = 255, 64
#: Error types of a task's failures, and of its retries, that are told apart; every further one is ``other``.
MAX_ERROR_TYPES = 100

#: A larger number was not counted by us: scripts in Redis would round it.
MAX_NUMBER = 2**53

#: As details: the sum of a histogram, whose other details are its bounds. As a kind: what ``internal_errors`` holds.
SUM, INTERNAL_ERRORS = "sum", "internal_errors"


def label_text(text: str, characters: int) -> str:
    """A text without NUL, which parts our fields, and without lone surrogates (both become ``?``), cut to a length."""
    return text[:characters].replace("\0", "?").encode("utf-8", "replace").decode()


class Series(NamedTuple):
    """One counter: ``detail`` is the error type or the reason, or empty."""

    kind: str
    task_name: str
    detail: str
    customer_id: str


@dataclass
class Histogram:
    """Observations per upper bound in seconds (``inf`` is the last), and their sum."""

    buckets: Counter[float] = field(default_factory=Counter)
    sum_seconds: float = 0.0

    def observe(self, seconds: float, bounds: Sequence[float]) -> None:
        """Count one observation under the lowest bound that holds it."""
        index = bisect_left(bounds, seconds)
        self.buckets[bounds[index] if index < len(bounds) else float("inf")] += 1
        self.sum_seconds += seconds


@dataclass
class Counts:
    """What was counted: a worker's since its last flush, or a whole fleet's.

    Attributes:
        unreadable: numbers that were left out, since they could not be read.
    """

    counters: Counter[Series] = field(default_factory=Counter)
    histograms: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    internal_errors: int = 0
    unreadable: int = 0

    def __len__(self) -> int:
        """How many numbers a store keeps for it."""
        numbers = sum(len(found.buckets) + 1 for found in self.histograms.values())
        return len(self.counters) + numbers + bool(self.internal_errors)

    @property
    def events(self) -> int:
        """How many events were counted."""
        return sum(self.counters.values()) + self.internal_errors

    def histogram(self, name: str, task_name: str) -> Histogram:
        """The histogram of a task, made on first use."""
        found = self.histograms.get((name, task_name))
        if found is None:
            found = self.histograms[name, task_name] = Histogram()
        return found

    def parts(self, size: int) -> list[Counts]:
        """The same counts in parts of at most ``size`` numbers (at least 2), none if there are no counts."""
        if len(self) <= size:
            return [self] if self else []
        counters = iter(self.counters.items())
        parts = [Counts(internal_errors=self.internal_errors)] if self.internal_errors else []
        while some := dict(islice(counters, size)):
            parts.append(Counts(Counter(some)))
        for key, histogram in self.histograms.items():
            buckets, seconds = iter(histogram.buckets.items()), histogram.sum_seconds
            while bounds := dict(islice(buckets, size - 1)):
                if not parts or len(parts[-1]) + len(bounds) + 1 > size:
                    parts.append(Counts())
                parts[-1].histograms[key] = Histogram(Counter(bounds), seconds)
                seconds = 0.0
        return parts

    def to_rows(self) -> dict[str, list[list[Any]]]:
        """As plain lists, for a reply in JSON."""
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
        """The counts of ``to_rows``."""
        return cls.from_fields(_fields_of(rows))

    @classmethod
    def from_fields(cls, fields: Iterable[tuple[bytes, Any]]) -> Counts:
        """The counts of fields, each ``KIND NUL TASK NUL DETAIL NUL CUSTOMER`` in UTF-8, and its number.

        Kinds of a newer version are left alone. A histogram with a number that cannot be read is left out whole.
        """
        counts, spoiled = cls(), set[tuple[str, str]]()
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
                spoiled.add(key)
        for key in spoiled & counts.histograms.keys():
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
    """The rows of ``Counts.to_rows`` as fields; one that cannot be a field is empty, which cannot be read."""
    ends = {"counters": [], "buckets": [""], "sums": [SUM, ""]}
    for name, end in ends.items():
        for row in rows[name]:
            try:
                *texts, number = row
                yield "\0".join([*texts, *end]).encode(), number
            except (ValueError, TypeError):
                yield b"", 0
    yield f"{INTERNAL_ERRORS}\0\0\0".encode(), rows["internal_errors"][0][0]
