"""Sends the counts of one process to the store in batches; each is retried until the store has added it once."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import Counter, deque
from contextlib import suppress
from threading import Lock
from typing import Any
from uuid import uuid4

from ..counts import COUNTERS, Counts
from ..errors import StoreUnavailable
from ..stores import MAX_BATCH, Added, Store
from .ledger import Ledger

logger: logging.Logger = logging.getLogger(__name__)

#: Number of flushes after which the id of the store and its dangers are read again.
INSPECTION_FLUSHES = 10
#: How long a worker's reply mentions that the store had lost totals.
LOSS_SECONDS = 24 * 3600
#: Most tasks in the log line on unsent counts.
MAX_TASKS = 20


class Sender:
    """Sends the counts of a ledger. Any thread may call it; a lock lets one send at a time.

    Arguments:
        ledger: its counts are taken when the store has accepted all earlier batches.
        store: receives the counts.

    Attributes:
        writer: name of this process in the store.
    """

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self.writer: str = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex}"
        self._ledger = ledger
        self._store = store
        self._lock = Lock()
        self._sequence = 0
        #: Batches with their sequence numbers, until the store confirms them.
        self._batches: deque[tuple[int, Counts]] = deque()
        self._tried = 0  # the last sequence number that was sent
        self._inspects = False  # only in workers: a web process that runs tasks eagerly reports no store
        self._flushes = self._inspect_at = 0
        self._failing_since: float | None = None
        self._error: str | None = None
        self._refused = False
        self._store_id: str | None = None
        self._dangers: tuple[str, ...] = ()
        self._logged: set[str] = set()
        self._loss = 0.0, ""  # time, sentence
        self._logged_unsent = Counter[tuple[str, str]]()

    def facts(self) -> dict[str, Any]:
        """Return where the counts go and whether they arrive, for the worker's reply to ``stats``."""
        at, loss = self._loss
        return {
            "kind": "redis",
            "place": self._store.place,
            "keys": self._store.keys,
            "id": self._store_id,
            "failing_since": self._failing_since,
            "error": self._error,
            "unsent": self.unsent,
            "notes": [*self._dangers, *([loss] if time.time() - at < LOSS_SECONDS else [])],
        }

    @property
    def unsent(self) -> int:
        """Number of events that wait."""
        return self._ledger.events + sum(counts.events for _, counts in tuple(self._batches))

    def try_out(self) -> None:
        """Log a warning if the store cannot be written, and inspect it from now on. Adds nothing."""
        self._inspects = True
        with self._lock:
            if self._send(0, Counts()):
                self._inspect()

    def flush(self) -> bool:
        """Send the counts; ``False``: the store did not accept them, and they will be sent again."""
        with self._lock:
            if not self._batches:
                self._take()
            if not self._batches and self._failing_since is not None and not self._send(0, Counts()):
                return False
            while self._batches:
                if not self._send(*self._batches[0]):
                    return False
                self._batches.popleft()
            self._flushes += 1
            if self._inspects and self._flushes >= self._inspect_at:
                self._inspect()
        return True

    def log_unsent(self) -> None:
        """Log the counts that could not be sent before this process ends. Logs the same counts once."""
        with self._lock:
            left = Counter[tuple[str, str]]()
            for counts in (self._ledger.copy(), *[counts for _, counts in self._batches]):
                for series, number in counts.counters.items():
                    left[series.task_name, series.kind] += number
        if left and left != self._logged_unsent:
            logger.warning(
                "job totals: %d counts could not be sent before this process ends, and %s will not have them: %s",
                left.total(),
                self._store,
                _by_task(left),
            )
        self._logged_unsent = left

    def _take(self) -> None:
        batches = list(enumerate(self._ledger.take().parts(MAX_BATCH), self._sequence + 1))
        self._sequence += len(batches)
        self._batches.extend(batches)

    def _send(self, sequence: int, counts: Counts) -> bool:
        again, self._tried = sequence == self._tried, sequence
        try:
            added = self._store.add(self.writer, sequence, counts)
        except StoreUnavailable as exc:
            if self._failing_since is None or exc.refused > self._refused:
                until = "until they are accepted; this does not pass by itself" if exc.refused else "when it is back"
                logger.warning("%s; counting goes on in memory, and the counts are sent again %s", exc, until)
            self._fail(exc.cause, exc.refused)
            return False
        except Exception as exc:  # an error in this package; the recorder logs it
            self._fail(type(exc).__name__)
            raise
        if self._failing_since is not None:
            logger.warning("job totals: the store is back, what had waited is sent")
        self._failing_since, self._error, self._refused = None, None, False
        self._log_loss(added, again)
        return True

    def _fail(self, cause: str, refused: bool = False) -> None:
        self._failing_since = self._failing_since or time.time()
        self._error, self._refused = cause, refused
        self._inspect_at = 0  # with the first success: it may be another server

    def _log_loss(self, added: Added, again: bool) -> None:
        """Log that the store had lost keys. The writer's key alone matters only if this batch was sent before."""
        if added.totals_gone:
            self._inspect_at = 0  # the id is gone too
            what = "was gone (deleted, evicted, Redis is empty or another one of a list): the totals begin at 0 there"
        elif added.writer_gone and again:
            what = "had lost what this worker sent last: counts that were sent again may have been added twice"
        else:
            return
        now = time.time()
        moment = time.strftime("%Y-%m-%d %H:%M", time.gmtime(now))
        self._loss = now, f"at {moment} UTC {self._store.keys}:totals {what}"
        logger.warning("job totals: %s", self._loss[1])

    def _inspect(self) -> None:
        """Read the dangers of the store and its id, which is created if missing; web processes compare the id."""
        self._inspect_at = self._flushes + INSPECTION_FLUSHES
        with suppress(StoreUnavailable):  # without an id, web processes compare nothing
            self._store_id = self._store.identity(create=True)
        self._dangers = self._store.dangers()
        for danger in self._dangers:
            if danger not in self._logged:
                self._logged.add(danger)
                logger.warning("job totals: %s", danger)


def _by_task(numbers: Counter[tuple[str, str]]) -> str:
    """Return the numbers of each kind for the first tasks, and one sum for the remaining tasks."""
    tasks = sorted({task for task, _ in numbers})
    parts = [
        f"{task}: " + ", ".join([f"{numbers[task, kind]} {kind}" for kind in COUNTERS if (task, kind) in numbers])
        for task in tasks[:MAX_TASKS]
    ]
    rest = sum(number for (task, _), number in numbers.items() if task in set(tasks[MAX_TASKS:]))
    return "; ".join(parts) + (f"; {len(tasks) - MAX_TASKS} more tasks: {rest}" if rest else "")
