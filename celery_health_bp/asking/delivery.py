"""Sentences on job totals that workers cannot send to their store, and on what puts stored totals at risk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from ..notes import name_list
from ..report import Sending, StoreFacts, Worker


class _Failure(NamedTuple):
    place: str
    error: str


def delivery_notes(workers: Iterable[Worker], now: float) -> tuple[str, ...]:
    """Return one sentence per store and error, and one per note of a worker; each names the workers.

    Arguments:
        workers: those that report neither a failure nor a note are ignored.
        now: seconds since the epoch.
    """
    failing: dict[_Failure, list[tuple[str, Sending]]] = defaultdict(list)
    noted: dict[str, list[str]] = defaultdict(list)
    for worker in workers:
        sending = worker.sending
        if sending is None:
            continue
        if sending.failing_since is not None:
            place = (worker.store or StoreFacts("redis")).place
            failing[_Failure(place, sending.error)].append((worker.name, sending))
        for note in sending.notes:
            noted[note].append(worker.name)
    return (
        *(_sentence(failure, found, now) for failure, found in failing.items()),
        *(f"Job totals, says {name_list(names)}: {note}" for note, names in noted.items()),
    )


def _sentence(failure: _Failure, found: list[tuple[str, Sending]], now: float) -> str:
    since = min(sending.failing_since or now for _, sending in found)
    waiting = sum(sending.unsent for _, sending in found)
    names = name_list([name for name, _ in found])
    error = f" ({failure.error})" if failure.error else ""
    place = f"{failure.place or 'their store'} for {max(0.0, now - since):.0f} s{error}"
    return f"Job totals of {names} cannot be sent to {place}: {waiting} events wait in memory and are sent again"
