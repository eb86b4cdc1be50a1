"""Runs one call at a time for any number of callers, each with a deadline.

The work runs on its own thread. A caller stops waiting at its deadline, whatever the transport does. At
most one call runs, and at most one thread is stuck.

A caller may be a signal handler that has interrupted another caller at any point: no method waits for a
lock that the interrupted caller can hold.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs ``work`` once for all callers that arrive while it runs.

    Arguments:
        work: called without arguments, never twice at the same time.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._lock = threading.RLock()
        self._working = threading.Lock()  # only the threads that do the work take it
        self._run: _Run[T] | None = None

    def result(self, timeout_seconds: float) -> tuple[T, bool]:
        """Wait for the current run, or start one.

        Returns:
            The result of ``work``, and whether this call started the run.

        Raises:
            TimeoutError: the run did not end in time. It continues; the next run starts after it.
            Exception: what ``work`` raised.
        """
        with self._lock:
            run = self._run
            fresh = run is None or run.ended
            if run is None or fresh:
                run = self._run = self._start()
        return run.result(timeout_seconds), fresh

    def _start(self) -> _Run[T]:
        run: _Run[T] = _Run()
        threading.Thread(target=self._do, args=[run], name="celery-health-check", daemon=True).start()
        return run

    def _do(self, run: _Run[T]) -> None:
        with self._working:
            try:
                run.value = self._work()
            except BaseException as exc:  # raised in the callers
                run.error = exc
        run.end()


class _Run(Generic[T]):
    """The future of one run. ``Event`` and ``Future`` take a lock in the caller; this class does not."""

    def __init__(self) -> None:
        self.value: T | None = None
        self.error: BaseException | None = None
        self.ended = False
        self._callers: list[threading.Lock] = []

    def result(self, timeout_seconds: float) -> T:
        awake = threading.Lock()
        awake.acquire()
        self._callers.append(awake)
        # end() sets ``ended`` before it releases the registered locks: a caller registered too late sees it.
        if not self.ended and not awake.acquire(timeout=max(0.0, timeout_seconds)):
            raise TimeoutError
        if self.error is not None:
            raise self.error
        return cast(T, self.value)

    def end(self) -> None:
        self.ended = True
        for awake in tuple(self._callers):
            awake.release()
