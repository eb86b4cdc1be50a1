"""Maps the exception that ended an attempt to a counter and its label."""

from __future__ import annotations

from celery.exceptions import Ignore, Reject, Retry, Terminated, WorkerLostError

from ..counts import MAX_LABEL
from ..versions import class_name, unwrapped
from .ledger import Outcome

STARTED = Outcome("started")
COMPLETED = Outcome("completed")
TIMED_OUT = Outcome("failed", "TimeLimitExceeded")
WORKER_LOST = Outcome("failed", WorkerLostError.__name__)
RETRIED_AS_LOST = Outcome("retried", WorkerLostError.__name__)
TERMINATED = Outcome("aborted", "terminated")
CANCELLED = Outcome("aborted", "cancelled")
REVOKED = Outcome("discarded", "revoked")
EXPIRED = Outcome("discarded", "expired")


def outcome_of(exc: BaseException) -> Outcome:
    """Return the outcome of an attempt that this exception ended.

    Exceptions that end the process count as ``WorkerLostError``: a ``BaseException``
    that is not an ``Exception`` (``SystemExit``, ``KeyboardInterrupt``), and
    ``MemoryError``, after which Celery shuts the worker down.
    """
    exc = unwrapped(exc)
    if isinstance(exc, Retry):
        return Outcome("retried", class_name(exc.exc or exc)[:MAX_LABEL])
    if isinstance(exc, Reject):
        return Outcome("aborted", "requeued" if exc.requeue else "rejected")
    if isinstance(exc, Ignore):
        return Outcome("aborted", "ignored")
    if isinstance(exc, Terminated):
        return TERMINATED
    if not isinstance(exc, Exception) or isinstance(exc, MemoryError):
        return WORKER_LOST
    return Outcome("failed", class_name(exc)[:MAX_LABEL])
