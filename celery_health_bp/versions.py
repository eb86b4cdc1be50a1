"""What differs between the versions of Celery that this package works with: one table.

Everything else of this package is written for all of them. Each entry is tested with
every version that ``tox.ini`` names.
"""

from __future__ import annotations

import functools
import logging
import re
from typing import NamedTuple

import celery
from billiard.pool import MaybeEncodingError
from celery.utils.serialization import UnpickleableExceptionWrapper

logger: logging.Logger = logging.getLogger(__name__)

OLDEST_TESTED, NEWEST_TESTED = (5, 2), (5, 7)


class Difference(NamedTuple):
    """What Celery does from one version on, and did not do before.

    Attributes:
        since: the first version that does it.
        what: what it does.
        here: what that means for this package and its users.
    """

    since: tuple[int, int]
    what: str
    here: str

    @property
    def holds(self) -> bool:
        """The installed Celery does it."""
        return bool(celery.VERSION[:2] >= self.since)


#: Name -> difference, oldest first.
DIFFERENCES: dict[str, Difference] = {
    "wrapped_exceptions": Difference(
        (5, 3),
        "billiard 4 hands over what a job raised inside an ExceptionWithTraceback",
        "unwrapped() takes it out",
    ),
    "unpicklable_by_name": Difference(
        (5, 3),
        "an exception that cannot be pickled arrives with the name of its class: before, only as text",
        "class_name() finds the name in either",
    ),
    "exits_reported": Difference(
        (5, 3),
        "sys.exit in a job comes to Request.on_failure as SystemExit: before, as the loss of its process",
        "either is a WorkerLostError",
    ),
    "pool_implementation": Difference(
        (5, 3),
        "the reply to stats names the pool's class",
        "before, pool is null in the details of health/",
    ),
    "filesystem_broadcast": Difference(
        (5, 3),
        "workers on filesystem:// can be asked (by kombu 5.3)",
        "before, a check says that this broker has no broadcast",
    ),
    "cold_shutdown_tells": Difference(
        (5, 3),
        "a cold shutdown of prefork says which attempts lost their process",
        "before, what was still running when the worker's process ended is counted as WorkerLostError",
    ),
    "gevent_terminate": Difference(
        (5, 5),
        "revoke(terminate=True) ends a greenlet: before, terminate_job was not implemented for gevent",
        "before, such an attempt completes and is counted so",
    ),
    "cold_shutdown_cancels": Difference(
        (5, 5),
        "a cold shutdown cancels what runs: before, it killed processes, waited for threads, and left greenlets behind",
        "aborted as cancelled; before, failed with WorkerLostError, or completed if it came to that",
    ),
    "soft_shutdown": Difference(
        (5, 5),
        "worker_soft_shutdown_timeout: a cold shutdown of prefork waits, cancels what runs, and then reads the results",
        "a result that arrives is counted; aborted as cancelled is what sends none",
    ),
    "cancelled_with_argument": Difference(
        (5, 6),
        "Request._announce_cancelled takes an argument, emit_retry",
        "ours hands on whatever it is given",
    ),
    "handlers_after_the_end": Difference(
        (5, 7),
        "on_success and after_return that raise leave a success: before, they turned it into a failure",
        "completed; before, failed with the handler's error",
    ),
    "lost_after_success": Difference(
        (5, 7),
        "a job whose process is lost when its result has been stored is a success",
        "completed, without a duration; before, failed with WorkerLostError",
    ),
    "retry_on_worker_lost": Difference(
        (5, 7),
        "retry_on_worker_lost has a job retried whose process was lost",
        "retried with WorkerLostError; before, there is no such option",
    ),
    "solo_quits": Difference(
        (5, 7),
        "SIGQUIT ends a solo worker in the middle of a job: in 5.5 and 5.6 only the job fails, and the worker goes on",
        "failed with NotImplementedError, from 5.5 on",
    ),
    "beat_remote_control": Difference(
        (5, 7),
        "beat may answer a ping (beat_enable_remote_control)",
        "it is no worker: those are known by their replies to stats and active_queues",
    ),
}


def unwrapped(exc: BaseException) -> BaseException:
    """What the job raised, without what the pool put around it (``wrapped_exceptions``)."""
    return exc.exc if type(exc).__name__ == "ExceptionWithTraceback" else exc  # type: ignore[attr-defined]


def class_name(exc: BaseException) -> str:
    """The class of what the job raised, also if it could not be pickled (``unpicklable_by_name``)."""
    if isinstance(exc, UnpickleableExceptionWrapper):
        return str(exc.exc_cls_name)
    if isinstance(exc, MaybeEncodingError):
        quoted = re.search(r"<ExceptionInfo: (\w+)\(", str(exc.value))
        return quoted[1] if quoted else type(exc).__name__
    return type(exc).__name__


@functools.cache
def warn_if_untested() -> None:
    """Log once in a process that the installed Celery is newer than all that were tested; it is used all the same."""
    if celery.VERSION[:2] > NEWEST_TESTED:
        logger.warning(
            "Celery %s is newer than %d.%d, the newest that celery_health_bp was tested with: look for a newer release",
            celery.__version__,
            *NEWEST_TESTED,
        )
