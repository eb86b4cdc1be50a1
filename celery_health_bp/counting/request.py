"""Follows one attempt in the worker's main process, through Celery's custom requests.

Celery calls a ``Request`` when a pool process accepts an attempt and when the
attempt has ended, also when its process was killed. Exceptions to the rule:

* A hard time limit calls both ``on_timeout`` and ``on_failure``: the first end counts.
* Pools that run attempts in the main process drop an exception that escapes from Celery's
  tracer. Only the pool's result has it, so that is watched as well.
* A shutdown of prefork cancels attempts and then reads results: a result that arrives counts.
* When a process is lost, Celery decides whether the attempt failed, succeeded or is retried.

This is the only module that depends on the inside of ``celery.worker.request``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

from billiard.einfo import ExceptionInfo
from billiard.pool import ApplyResult
from celery.worker.request import Request
from celery.worker.state import active_requests

from .attempt import Attempt
from .guard import never_raises
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

#: Attempts that a shutdown has cancelled. Their results may still arrive.
_cancelled: set[MonitoredRequest] = set()


def count_unfinished() -> None:
    """Count attempts without a reported end when the process ends: cancelled ones, and those of a killed pool."""
    for request in [*_cancelled, *active_requests]:
        if isinstance(request, MonitoredRequest):
            request.count_unfinished()


def _counting(on_success: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``on_success``, which gets the pool's result: a return value or an exception."""

    @functools.wraps(on_success)
    def counted(self: MonitoredRequest, failed__retval__runtime: Any, **kwargs: Any) -> Any:
        if isinstance(failed__retval__runtime, ExceptionInfo):  # SystemExit in a pool without processes
            self._count_exception(failed__retval__runtime)
        elif not failed__retval__runtime[0]:  # else Celery calls on_failure next, with the exception
            # The runtime is None for a redelivered message whose attempt had already succeeded.
            self._count_end(COMPLETED, failed__retval__runtime[2])
        return on_success(self, failed__retval__runtime, **kwargs)

    return counted


def _watching(execute_using_pool: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``execute_using_pool``, which hands the attempt to the pool; the solo pool runs it in this call."""

    @functools.wraps(execute_using_pool)
    def watched(self: MonitoredRequest, pool: Any, **kwargs: Any) -> Any:
        try:
            result = execute_using_pool(self, pool, **kwargs)
        except BaseException as exc:
            self._count_escaped(exc)
            raise
        if not isinstance(result, ApplyResult):  # prefork reports every end by itself
            self._watch(result)
        return result

    return watched


class MonitoredRequest(Attempt, Request):  # type: ignore[misc]  # celery ships no types
    """A ``Request`` that counts its acceptance and its first terminal event."""

    _is_cancelled = False
    _is_lost = False
    #: Attempts are cancelled because the worker shuts down, not because it lost its connection.
    shutdown_cancels: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # Celery's create_request_cls() makes a subclass for each task. Its methods
        # do not call super(), so they are wrapped when the subclass is made.
        super().__init_subclass__(**kwargs)
        cls._finder = None
        for name, wrap in (("on_success", _counting), ("execute_using_pool", _watching)):
            if name in cls.__dict__:
                setattr(cls, name, wrap(cls.__dict__[name]))

    on_success: Callable[..., Any] = _counting(Request.on_success)
    execute_using_pool: Callable[..., Any] = _watching(Request.execute_using_pool)

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """Count the start; ``time_accepted`` is of ``time.monotonic()``."""
        if not self._accepted_at:
            self._accepted_at = time_accepted
            self._count(STARTED)
        super().on_accepted(pid, time_accepted)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Count a hard time limit; a soft one does not end the attempt."""
        if not soft:
            self._count_end(TIMED_OUT)
        super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        """Count an exception, a retry, or a lost process; of the last, Celery decides first how it ended."""
        self._count_failure(exc_info)
        try:
            return super().on_failure(exc_info, *args, **kwargs)
        finally:
            if self._is_lost:
                self._count_end(WORKER_LOST)

    def _success_was_stored(self) -> Any:
        found = super()._success_was_stored()  # Celery 5.7: the process was lost after the result was stored
        if found:
            self._count_end(COMPLETED)
        return found

    def _retry_worker_lost(self, *args: Any, **kwargs: Any) -> Any:
        retried = super()._retry_worker_lost(*args, **kwargs)  # Celery 5.7: the option retry_on_worker_lost
        if retried:
            self._count_end(RETRIED_AS_LOST)
        return retried

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        if self._accepted_at:
            self._count_end(TERMINATED)
        else:
            self._count_discard(EXPIRED if expired else REVOKED)
        super()._announce_revoked(reason, terminated, signum, expired)

    def _announce_cancelled(self, *args: Any, **kwargs: Any) -> None:  # with an argument since Celery 5.6
        self._count_cancelled()
        super()._announce_cancelled(*args, **kwargs)

    def count_unfinished(self) -> None:
        """Count the end of an accepted attempt that gets no further call."""
        if self._accepted_at:
            self._count_end(CANCELLED if self._is_cancelled else WORKER_LOST)

    @never_raises
    def _count_exception(self, exc_info: Any) -> None:
        self._count_end(outcome_of(exc_info.exception))

    @never_raises
    def _count_failure(self, exc_info: Any) -> None:
        outcome = outcome_of(exc_info.exception)
        if self._is_cancelled and outcome in (TERMINATED, WORKER_LOST):  # Celery has ended its process
            outcome = CANCELLED
        self._is_lost = outcome == WORKER_LOST
        if not self._is_lost:
            self._count_end(outcome)

    @never_raises
    def _count_cancelled(self) -> None:
        result = self._apply_result and self._apply_result()
        if not self.shutdown_cancels or not isinstance(result, ApplyResult):
            self._count_end(CANCELLED)
        elif not self._is_over:  # prefork reads the results now, before the process ends
            self._is_cancelled = True
            _cancelled.add(self)

    @never_raises
    def _watch(self, result: Any) -> None:
        if hasattr(result, "link_exception"):  # a greenlet
            result.link_exception(lambda greenlet: self._count_escaped(greenlet.exception))
        elif hasattr(result, "f"):  # a future of the threads pool; cancelled if it never started
            result.f.add_done_callback(lambda future: future.cancelled() or self._count_escaped(future.exception()))

    @never_raises
    def _count_escaped(self, exc: BaseException | None) -> None:
        if exc is not None and self._accepted_at:
            self._count_end(outcome_of(exc))
