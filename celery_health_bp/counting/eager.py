"""Counts runs that have no ``Request``: ``task_always_eager`` and ``.apply()``.

They are counted in the process that runs them, on Celery's ``task_prerun`` and
``task_postrun`` signals, which see every end of an eager run.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from celery import signals

from .guard import never_raises
from .ledger import UNKNOWN, Outcome
from .outcomes import COMPLETED, STARTED, outcome_of
from .recorder import Recorder, record_internal_error, recorder_of

#: Attribute of a function whose attempts are counted; Celery's wrappers copy it.
MARK = "celery_health_monitored"


def connect() -> None:
    """Count the eager runs of this process from now on. Idempotent."""
    signals.task_prerun.connect(_started, dispatch_uid=f"{__name__}.started", weak=False)
    signals.task_postrun.connect(_ended, dispatch_uid=f"{__name__}.ended", weak=False)


def is_monitored(task: Any) -> bool:
    """Return whether the attempts of this task are to be counted."""
    return bool(getattr(task.run, MARK, getattr(task, MARK, False)))


class EagerAttempt:
    """Counts one eager run.

    Arguments:
        task: the Celery task that runs.
    """

    def __init__(self, task: Any) -> None:
        self._task = task
        self._recorder: Recorder | None = None
        self._customer = UNKNOWN
        self._began = 0.0

    def record_internal_error(self) -> None:
        """Log and count the exception that is being handled."""
        record_internal_error(self._task.app)

    @never_raises
    def count_start(self, args: Any, kwargs: Any) -> None:
        """Count the start of a run with these arguments."""
        task = self._task
        self._recorder = recorder = recorder_of(task.app)
        recorder.start()
        self._customer = recorder.finder(task).find(args, kwargs)
        recorder.ledger.count(STARTED, task.name, self._customer)
        self._began = time.monotonic()

    @never_raises
    def count_end(self, state: str | None, retval: Any) -> None:
        """Count the end of the run.

        Arguments:
            state: state of the result; ``None`` if the exception propagates (``task_eager_propagates``).
            retval: the return value, or the exception.
        """
        if self._recorder is not None:
            outcome = _outcome(state, retval)
            seconds = time.monotonic() - self._began if outcome is COMPLETED else None
            self._recorder.ledger.count(outcome, self._task.name, self._customer, seconds)


def _started(task: Any, args: Any, kwargs: Any, **_: Any) -> None:
    if task.request.is_eager and is_monitored(task):
        attempt = EagerAttempt(task)
        task.request.update(celery_health_attempt=attempt)
        attempt.count_start(args, kwargs)


def _ended(task: Any, state: str | None, retval: Any, **_: Any) -> None:
    attempt: EagerAttempt | None = getattr(task.request, "celery_health_attempt", None)
    if attempt is not None:
        attempt.count_end(state, retval)


def _outcome(state: str | None, retval: Any) -> Outcome:
    if state == "SUCCESS":
        return COMPLETED
    raised = retval if isinstance(retval, BaseException) else sys.exc_info()[1]
    return outcome_of(raised) if raised is not None else Outcome("failed", str(state))
