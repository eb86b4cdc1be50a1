"""The way of one process's counts to the store: in parts, each added once, sent again until it is accepted."""

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

#: The state of the store (its id, its dangers) is read again after so many flushes.
LOOK_FLUSHES = 10
#: How long a worker tells that totals were gone.
GONE_SECONDS = 24 * 3600
#: Tasks in the log line on what could not be sent.
MAX_TASKS = 20


class Sender:
    """Sends what a ledger has counted; for one thread at a time, the others wait.

    Arguments:
        ledger: its counts are taken when what was taken before has been accepted.
        store: where they go.

    Attributes:
        writer: name of this process in the store.
    """

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self.writer: str = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex}"
        self._ledger = ledger
        self._store = store
        self._lock = Lock()
        self._sequence = 0
        #: Each keeps its sequence until the store is known to have added it.
        self._parts: deque[tuple[int, Counts]] = deque()
        self._tried = 0  # the sequence that was sent last
        self._watching = False  # a web process sends what it ran eagerly, and nobody asks it for the store
        self._flushes = self._look_at = 0
        self._failing_since: float | None = None
        self._error: str | None = None
        self._refused = False
        self._store_id: str | None = None
        self._dangers: tuple[str, ...] = ()
        self._logged: set[str] = set()
        self._gone = 0.0, ""
        self._said = Counter[tuple[str, str]]()

    def facts(self) -> dict[str, Any]:
        """Where the counts go and whether they arrive, for the worker's reply to ``stats``."""
        at, gone = self._gone
        return {
            "kind": "redis",
            "place": self._store.place,
            "keys": self._store.keys,
            "id": self._store_id,
            "failing_since": self._failing_since,
            "error": self._error,
            "unsent": self.unsent,
            "notes": [*self._dangers, *([gone] if time.time() - at < GONE_SECONDS else [])],
        }

    @property
    def unsent(self) -> int:
        """How many events wait."""
        return self._ledger.events + sum(counts.events for _, counts in tuple(self._parts))

    def try_out(self) -> None:
        """Find out whether the store can be used, and log it if not; from now on watch it. Adds nothing."""
        self._watching = True
        with self._lock:
            if self._send(0, Counts()):
                self._look()

    def flush(self) -> bool:
        """Send what was counted; ``False`` if the store did not accept it (it will be sent again)."""
        with self._lock:
            if not self._parts:
                self._take()
            if not self._parts and self._failing_since is not None and not self._send(0, Counts()):
                return False
            while self._parts:
                if not self._send(*self._parts[0]):
                    return False
                self._parts.popleft()
            self._flushes += 1
            if self._watching and self._flushes >= self._look_at:
                self._look()
        return True

    def say_unsent(self) -> None:
        """This process ends: log with its numbers what could not be sent, once."""
        with self._lock:
            left = Counter[tuple[str, str]]()
            for counts in (self._ledger.copy(), *[counts for _, counts in self._parts]):
                for series, number in counts.counters.items():
                    left[series.task_name, series.kind] += number
        if left and left != self._said:
            logger.warning(
                "job totals: %d counts could not be sent before this process ends, and %s will not have them: %s",
                left.total(),
                self._store,
                _by_task(left),
            )
        self._said = left

    def _take(self) -> None:
        parts = list(enumerate(self._ledger.take().parts(MAX_BATCH), self._sequence + 1))
        self._sequence += len(parts)
        self._parts.extend(parts)

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
        except Exception as exc:  # of our own code; the recorder logs it
            self._fail(type(exc).__name__)
            raise
        if self._failing_since is not None:
            logger.warning("job totals: the store is back, what had waited is sent")
        self._failing_since, self._error, self._refused = None, None, False
        self._tell(added, again)
        return True

    def _fail(self, cause: str, refused: bool = False) -> None:
        self._failing_since = self._failing_since or time.time()
        self._error, self._refused = cause, refused
        self._look_at = 0  # as soon as it is back: it may be another one

    def _tell(self, added: Added, again: bool) -> None:
        """Say that keys were gone; a writer's alone matters only to a batch that may have been added before."""
        if added.totals_gone:
            self._look_at = 0  # its id is gone too
            what = "was gone (deleted, evicted, Redis is empty or another one of a list): the totals begin at 0 there"
        elif added.writer_gone and again:
            what = "had lost what this worker sent last: counts that were sent again may have been added twice"
        else:
            return
        now = time.time()
        moment = time.strftime("%Y-%m-%d %H:%M", time.gmtime(now))
        self._gone = now, f"at {moment} UTC {self._store.keys}:totals {what}"
        logger.warning("job totals: %s", self._gone[1])

    def _look(self) -> None:
        """Read the id of the store, or give it one (the web process compares it with its own), and its dangers."""
        self._look_at = self._flushes + LOOK_FLUSHES
        with suppress(StoreUnavailable):  # without the id nothing is compared
            self._store_id = self._store.identity(create=True)
        self._dangers = self._store.dangers()
        for danger in self._dangers:
            if danger not in self._logged:
                self._logged.add(danger)
                logger.warning("job totals: %s", danger)


def _by_task(numbers: Counter[tuple[str, str]]) -> str:
    """Numbers of each kind for each task, those of the last tasks in one."""
    tasks = sorted({task for task, _ in numbers})
    parts = [
        f"{task}: " + ", ".join([f"{numbers[task, kind]} {kind}" for kind in COUNTERS if (task, kind) in numbers])
        for task in tasks[:MAX_TASKS]
    ]
    rest = sum(number for (task, _), number in numbers.items() if task in set(tasks[MAX_TASKS:]))
    return "; ".join(parts) + (f"; {len(tasks) - MAX_TASKS} more tasks: {rest}" if rest else "")
