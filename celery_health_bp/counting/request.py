"""One attempt's life, seen from the worker's main process.

Celery calls a ``Request`` when a pool process accepts an attempt and when it
has ended, also when that process was killed. The first terminal call decides:
for some outcomes two come (a hard time limit sends ``on_timeout`` and
``on_failure``). For some none comes: pools that run attempts in the main
process drop what escapes from Celery's tracer, and only their result has it.
Two calls are not the last word: when it shuts down, prefork reads results after it
has cancelled their attempts, and when a process is lost Celery decides what becomes of its job.
This is the one file that leans on ``celery.worker.request``.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, ClassVar

from billiard.einfo import ExceptionInfo
from billiard.pool import ApplyResult
from celery.worker.request import Request
from celery.worker.state import active_requests

from ..wire import PUBLISHED_HEADER
from .customers import CustomerFinder
from .ledger import Ledger, Outcome
from .outcomes import (
    CANCELLED,
    COMPLETED,
    EXPIRED,
    RETRIED_AS_LOST,
    REVOKED,
    STARTED,
    TERMINATED,
    TIMED_OUT,
    WORKER_LOST,
    outcome_of,
)
from .recorder import record_internal_error, recorder_of


def _never_raises(count: Callable[..., None]) -> Callable[..., None]:
    """An exception of our own code must not reach the job: log it and go on."""

    @functools.wraps(count)
    def guarded(self: MonitoredRequest, *args: Any) -> None:
        try:
            count(self, *args)
        except Exception:
            record_internal_error(self.app)

    return guarded


def _counting(on_success: Callable[..., Any]) -> Callable[..., Any]:
    """The pool sent a result: a return value, or what was raised."""

    @functools.wraps(on_success)
    def counted(self: MonitoredRequest, failed__retval__runtime: Any, **kwargs: Any) -> Any:
        if isinstance(failed__retval__runtime, ExceptionInfo):  # a SystemExit in a pool without processes
            self._count_exception(failed__retval__runtime)
        elif not failed__retval__runtime[0]:  # else on_failure comes next, with the exception
            # A redelivered message of an attempt that had returned has no runtime.
            self._count_end(COMPLETED, failed__retval__runtime[2])
        return on_success(self, failed__retval__runtime, **kwargs)

    return counted


def _watching(execute_using_pool: Callable[..., Any]) -> Callable[..., Any]:
    """The attempt goes to the pool; ``solo`` runs it in this very call."""

    @functools.wraps(execute_using_pool)
    def watched(self: MonitoredRequest, pool: Any, **kwargs: Any) -> Any:
        try:
            result = execute_using_pool(self, pool, **kwargs)
        except BaseException as exc:
            self._count_escape(exc)
            raise
        if not isinstance(result, ApplyResult):  # prefork's reports every end
            self._watch(result)
        return result

    return watched


#: Attempts that a shutdown has cancelled, and that may have sent a result before.
_cancelled: set[MonitoredRequest] = set()


def count_the_rest() -> None:
    """The process ends: count what was cancelled, and what the pool said nothing of when it was killed."""
    for request in [*_cancelled, *active_requests]:
        if isinstance(request, MonitoredRequest):
            request.count_as_gone()


class MonitoredRequest(Request):  # type: ignore[misc]  # celery ships no types
    """A ``Request`` that tells the ledger of acceptance and of the first terminal event."""

    _accepted_at = 0.0  # monotonic; 0 before
    _over = False
    _is_cancelled = False
    _is_lost = False
    _customer: str | None = None
    _ledger: ClassVar[Ledger]
    #: Attempts are cancelled for the end of this process, not for a lost connection.
    shutdown_cancels: ClassVar[bool] = False
    _finder: ClassVar[CustomerFinder | None] = None  # each worker makes a class of its own for each task

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # create_request_cls() makes a subclass per task whose methods do not
        # call super(): see it being made, and wrap them.
        super().__init_subclass__(**kwargs)
        cls._finder = None
        for name, wrap in (("on_success", _counting), ("execute_using_pool", _watching)):
            if name in cls.__dict__:
                setattr(cls, name, wrap(cls.__dict__[name]))

    on_success: Callable[..., Any] = _counting(Request.on_success)
    execute_using_pool: Callable[..., Any] = _watching(Request.execute_using_pool)

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """A pool process has begun the attempt; ``time_accepted`` is monotonic."""
        if not self._accepted_at:
            self._accepted_at = time_accepted
            self._count(STARTED)
        super().on_accepted(pid, time_accepted)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """A time limit was hit; only the hard one ends the attempt."""
        if not soft:
            self._count_end(TIMED_OUT)
        super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        """The attempt raised, asked for a retry, or lost its process: then Celery says what becomes of it."""
        self._count_failure(exc_info)
        try:
            return super().on_failure(exc_info, *args, **kwargs)
        finally:
            if self._is_lost:
                self._count_end(WORKER_LOST)

    def _success_was_stored(self) -> Any:
        found = super()._success_was_stored()  # ``lost_after_success``
        if found:
            self._count_end(COMPLETED)
        return found

    def _retry_worker_lost(self, *args: Any, **kwargs: Any) -> Any:
        retried = super()._retry_worker_lost(*args, **kwargs)  # ``retry_on_worker_lost``
        if retried:
            self._count_end(RETRIED_AS_LOST)
        return retried

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        if self._accepted_at:
            self._count_end(TERMINATED)
        else:
            self._count_discard(EXPIRED if expired else REVOKED)
        super()._announce_revoked(reason, terminated, signum, expired)

    def _announce_cancelled(self, *args: Any, **kwargs: Any) -> None:
        self._count_cancelled()
        super()._announce_cancelled(*args, **kwargs)

    def count_as_gone(self) -> None:
        """Nothing more will be heard of this attempt."""
        if self._accepted_at:
            self._count_end(CANCELLED if self._is_cancelled else WORKER_LOST)

    # -- counting: every function on the way costs a job, so they are few and read slots, not properties --

    @_never_raises
    def _count_exception(self, exc_info: Any) -> None:
        self._count_end(outcome_of(exc_info.exception))

    @_never_raises
    def _count_failure(self, exc_info: Any) -> None:
        outcome = outcome_of(exc_info.exception)
        if self._is_cancelled and outcome in (TERMINATED, WORKER_LOST):  # Celery has ended its process
            outcome = CANCELLED
        self._is_lost = outcome == WORKER_LOST
        if not self._is_lost:
            self._count_end(outcome)

    @_never_raises
    def _count_cancelled(self) -> None:
        result = self._apply_result and self._apply_result()
        if not self.shutdown_cancels or not isinstance(result, ApplyResult):
            self._count_end(CANCELLED)
        elif not self._over:  # a shutdown of prefork, which reads the results now, and ends
            self._is_cancelled = True
            _cancelled.add(self)

    @_never_raises
    def _watch(self, result: Any) -> None:
        if hasattr(result, "link_exception"):  # a greenlet
            result.link_exception(lambda greenlet: self._count_escape(greenlet.exception))
        elif hasattr(result, "f"):  # of the threads pool; it ends cancelled if it never began
            result.f.add_done_callback(lambda future: future.cancelled() or self._count_escape(future.exception()))

    @_never_raises
    def _count_escape(self, exc: BaseException | None) -> None:
        if exc is not None and self._accepted_at:
            self._count_end(outcome_of(exc))

    def _count_end(self, outcome: Outcome, seconds: float | None = None) -> None:
        if self._over:
            return
        self._over = True
        if self._is_cancelled:
            _cancelled.discard(self)
        if not self._accepted_at:  # its process was lost before the acceptance arrived
            self._accepted_at = time.monotonic()
            self._count(STARTED)
        self._count(outcome, seconds)

    def _count_discard(self, outcome: Outcome) -> None:
        if not self._over:
            self._over = True
            self._count(outcome)

    def _count(self, outcome: Outcome, seconds: float | None = None) -> None:
        """Never raises, as ``_never_raises``."""
        try:
            task = self._task
            finder = self._finder
            if finder is None or finder.task is not task:
                finder = self._begin(task)
            if self._customer is None:
                self._customer = finder.find(self._args, self._kwargs)
            if outcome is STARTED:
                seconds = self._waited()
            self._ledger.count(outcome, task.name, self._customer, seconds)
        except Exception:
            record_internal_error(self.app)

    def _begin(self, task: Any) -> CustomerFinder:
        recorder = recorder_of(self.app)
        recorder.expect_step()
        recorder.start()  # not at every count: a cold shutdown counts the last ones when the process exits
        cls = type(self)
        cls._ledger, cls._finder = recorder.ledger, recorder.finder(task)
        return cls._finder

    def _waited(self) -> float | None:
        published = self._request_dict.get(PUBLISHED_HEADER)
        if type(published) is not int or not 1e15 < published < 1e17:  # not ours; 1e15 is in 2001
            return None
        due = published / 1e6
        if self._eta:
            due = max(due, self._eta.timestamp())
        return max(0.0, time.time() - (time.monotonic() - self._accepted_at) - due)
