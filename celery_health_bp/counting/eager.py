"""Counts runs that have no Request: ``task_always_eager`` and ``.apply()``.

They count in the process that they run in, from Celery's ``task_prerun`` and
``task_postrun``, which see every end of an eager run.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from celery import signals

from .ledger import Outcome
from .outcomes import COMPLETED, STARTED, outcome_of
from .recorder import record_internal_error, recorder_of

#: Marks a function whose attempts are counted; Celery's wrappers carry it along.
MARK = "celery_health_monitored"


def connect() -> None:
    """Listen to eager runs of this process; doing it twice does it once."""
    signals.task_prerun.connect(_started, dispatch_uid=f"{__name__}.started", weak=False)
    signals.task_postrun.connect(_ended, dispatch_uid=f"{__name__}.ended", weak=False)


def is_monitored(task: Any) -> bool:
    """The attempts of this task are to be counted."""
    return bool(getattr(task.run, MARK, getattr(task, MARK, False)))


def _started(task: Any, args: Any, kwargs: Any, **_: Any) -> None:
    if not task.request.is_eager or not is_monitored(task):
        return
    try:
        recorder = recorder_of(task.app)
        recorder.start()
        task.request.update(celery_health_began=time.monotonic())
        recorder.ledger.count(STARTED, task.name, recorder.finder(task).find(args, kwargs))
    except Exception:
        record_internal_error(task.app)


def _ended(task: Any, args: Any, kwargs: Any, state: str | None, retval: Any, **_: Any) -> None:
    if not task.request.is_eager or not is_monitored(task):
        return
    try:
        recorder = recorder_of(task.app)
        outcome = _outcome(state, retval)
        seconds = time.monotonic() - task.request.celery_health_began if outcome is COMPLETED else None
        recorder.ledger.count(outcome, task.name, recorder.finder(task).find(args, kwargs), seconds)
    except Exception:
        record_internal_error(task.app)


def _outcome(state: str | None, retval: Any) -> Outcome:
    if state == "SUCCESS":
        return COMPLETED
    # With task_eager_propagates there is no state: the exception is on its way out.
    raised = retval if isinstance(retval, BaseException) else sys.exc_info()[1]
    return outcome_of(raised) if raised is not None else Outcome("failed", str(state))
