"""Counts one attempt: one start and one end, or one discard."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from ..wire import PUBLISHED_HEADER
from .customers import CustomerFinder
from .guard import never_raises
from .ledger import Ledger, Outcome
from .outcomes import STARTED
from .recorder import record_internal_error, recorder_of


class Attempt:
    """Mixin for Celery's ``Request`` that counts the start and the end of an attempt.

    Celery makes one class of requests for each task, so the task's ledger and
    finder are cached on the class. Hot path: avoid extra calls, and read the
    slots of ``Request`` instead of its properties.
    """

    app: Any
    _task: Any
    _args: Any
    _kwargs: Any
    _eta: Any
    _request_dict: Any

    _accepted_at = 0.0  # time.monotonic(); 0: not accepted yet
    _is_over = False  # its end has been counted
    _customer: str | None = None
    _ledger: ClassVar[Ledger]
    _finder: ClassVar[CustomerFinder | None] = None

    def record_internal_error(self) -> None:
        """Log and count the exception that is being handled."""
        record_internal_error(self.app)

    def _count_end(self, outcome: Outcome, seconds: float | None = None) -> None:
        """Count how the attempt ended; only the first call counts.

        Arguments:
            seconds: runtime of a completed attempt.
        """
        if self._is_over:
            return
        self._is_over = True
        if not self._accepted_at:  # its process was lost before the acceptance arrived
            self._accepted_at = time.monotonic()
            self._count(STARTED)
        self._count(outcome, seconds)

    def _count_discard(self, outcome: Outcome) -> None:
        """Count an attempt that ended without a start."""
        if not self._is_over:
            self._is_over = True
            self._count(outcome)

    @never_raises
    def _count(self, outcome: Outcome, seconds: float | None = None) -> None:
        task = self._task
        finder = self._finder
        if finder is None or finder.task is not task:
            finder = self._begin(task)
        if self._customer is None:
            self._customer = finder.find(self._args, self._kwargs)
        if outcome is STARTED:
            seconds = self._seconds_in_queue()
        self._ledger.count(outcome, task.name, self._customer, seconds)

    def _begin(self, task: Any) -> CustomerFinder:
        recorder = recorder_of(self.app)
        recorder.expect_step()
        recorder.start()  # here and not in _count: a cold shutdown counts when no thread can start any more
        cls = type(self)
        cls._ledger, cls._finder = recorder.ledger, recorder.finder(task)
        return cls._finder

    def _seconds_in_queue(self) -> float | None:
        """Return the time from publishing, or from a later ETA, to the start; ``None`` without our header."""
        published = self._request_dict.get(PUBLISHED_HEADER)
        if type(published) is not int or not 1e15 < published < 1e17:  # not our header; 1e15 µs is in 2001
            return None
        due = published / 1e6
        if self._eta:
            due = max(due, self._eta.timestamp())
        seconds = time.time() - (time.monotonic() - self._accepted_at) - due
        return seconds if seconds > 0 else 0.0  # the clocks of two hosts differ
