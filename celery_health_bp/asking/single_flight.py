"""One check at a time, on a thread that its callers abandon at their deadline.

Whatever a transport does, a caller gets an answer in time; and however many
callers ask, there is one check under way, and at most one that is stuck.

A caller may be a signal handler that has interrupted another caller at any
place: nothing here waits for a lock that the interrupted one can hold.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs ``work`` for all who ask while it runs.

    Arguments:
        work: called without arguments, never twice at the same time.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._lock = threading.RLock()
        self._working = threading.Lock()  # taken by the threads of runs alone
        self._run: _Run[T] | None = None

    def result(self, timeout_seconds: float) -> tuple[T, bool]:
        """The result of the run under way, or of a new one; and whether it is of a new one.

        Raises:
            TimeoutError: it did not end in time; it goes on, and the next run
                begins after it.
        """
        with self._lock:
            run = self._run
            fresh = run is None or run.ended
            if run is None or fresh:
                run = self._run = self._start()
        return run.result(timeout_seconds), fresh

    def _start(self) -> _Run[T]:
        run: _Run[T] = _Run()
        threading.Thread(target=self._fly, args=[run], name="celery-health-check", daemon=True).start()
        return run

    def _fly(self, run: _Run[T]) -> None:
        with self._working:
            try:
                run.value = self._work()
            except BaseException as exc:  # handed to the callers, not swallowed
                run.error = exc
        run.end()


class _Run(Generic[T]):
    """What a run came to. ``Event`` and ``Future`` have a lock that a caller holds for a moment; this has none."""

    def __init__(self) -> None:
        self.value: T | None = None
        self.error: BaseException | None = None
        self.ended = False
        self._callers: list[threading.Lock] = []

    def result(self, timeout_seconds: float) -> T:
        awake = threading.Lock()
        awake.acquire()
        self._callers.append(awake)
        # Who ends the run says so before it wakes the callers: one of both is seen here.
        if not self.ended and not awake.acquire(timeout=max(0.0, timeout_seconds)):
            raise TimeoutError
        if self.error is not None:
            raise self.error
        return cast(T, self.value)

    def end(self) -> None:
        self.ended = True
        for awake in tuple(self._callers):
            awake.release()
