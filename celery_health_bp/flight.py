"""One check at a time, on a thread that its callers abandon at their deadline.

Whatever a transport does, a caller gets an answer in time; and however many
callers ask, there is one check under way, and at most one that is stuck.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs ``work`` for all who ask while it runs.

    Arguments:
        work: called without arguments, never twice at the same time.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._future: Future[T] | None = None
        self._thread: threading.Thread | None = None

    def result(self, timeout_seconds: float) -> tuple[T, bool]:
        """The result of the run under way, or of a new one; and whether it is of a new one.

        Raises:
            TimeoutError: it did not end in time; it goes on, and the next run
                begins after it.
        """
        with self._lock:
            future = self._future
            fresh = future is None or future.done()
            if future is None or fresh:
                future = self._start()
        try:
            return future.result(timeout_seconds), fresh
        except FutureTimeoutError:
            raise TimeoutError from None

    def _start(self) -> Future[T]:
        future: Future[T] = Future()
        thread = threading.Thread(
            target=self._run, args=(future, self._thread), name="celery-health-check", daemon=True
        )
        thread.start()
        self._future, self._thread = future, thread
        return future

    def _run(self, future: Future[T], previous: threading.Thread | None) -> None:
        if previous is not None:
            previous.join()
        try:
            future.set_result(self._work())
        except BaseException as exc:  # handed to the callers, not swallowed
            future.set_exception(exc)
