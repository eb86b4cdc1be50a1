"""Differences between the supported versions of Celery: the table that docs/versions.md shows."""

from __future__ import annotations

from typing import NamedTuple

import celery

OLDEST_TESTED = (5, 2)


class Difference(NamedTuple):
    """A change in Celery.

    Attributes:
        since: first version with the change.
        what: behaviour of Celery since then.
        here: consequence for this package and its users.
    """

    since: tuple[int, int]
    what: str
    here: str

    @property
    def holds(self) -> bool:
        """Whether the installed Celery has the change."""
        return bool(celery.VERSION[:2] >= self.since)


#: Name -> difference, oldest first.
DIFFERENCES: dict[str, Difference] = {
    "wrapped_exceptions": Difference(
        (5, 3),
        "billiard 4 wraps the exception of a job in ExceptionWithTraceback",
        "unwrapped() removes the wrapper",
    ),
    "unpicklable_by_name": Difference(
        (5, 3),
        "an unpicklable exception arrives with its class name; before, only as text",
        "class_name() finds the name in both",
    ),
    "exits_reported": Difference(
        (5, 3),
        "Request.on_failure receives SystemExit for sys.exit in a job; before, the loss of its process",
        "both count as WorkerLostError",
    ),
    "pool_implementation": Difference(
        (5, 3),
        "the reply to stats names the pool's class",
        "before, pool is null in the details of health/",
    ),
    "filesystem_broadcast": Difference(
        (5, 3),
        "kombu 5.3 can broadcast on filesystem://",
        "before, a check reports that this broker has no broadcast",
    ),
    "cold_shutdown_reports": Difference(
        (5, 3),
        "a cold shutdown of prefork reports which attempts lost their process",
        "before, attempts that still run when the worker's process ends count as WorkerLostError",
    ),
    "gevent_terminate": Difference(
        (5, 5),
        "revoke(terminate=True) ends a greenlet; before, the gevent pool did not implement terminate_job",
        "before, such an attempt completes and counts as completed",
    ),
    "cold_shutdown_cancels": Difference(
        (5, 5),
        "a cold shutdown cancels running attempts; before, it killed processes, waited for threads and left greenlets",
        "aborted as cancelled; before, failed with WorkerLostError, or completed if the job reached its end",
    ),
    "soft_shutdown": Difference(
        (5, 5),
        "worker_soft_shutdown_timeout: a cold shutdown of prefork waits, cancels running attempts, then reads results",
        "a result that arrives counts; an attempt without a result is aborted as cancelled",
    ),
    "cancelled_with_argument": Difference(
        (5, 6),
        "Request._announce_cancelled takes an argument, emit_retry",
        "MonitoredRequest passes all arguments on",
    ),
    "handlers_after_the_end": Difference(
        (5, 7),
        "an attempt whose on_success or after_return raises stays a success; before, it became a failure",
        "completed; before, failed with the handler's error",
    ),
    "lost_after_success": Difference(
        (5, 7),
        "a job whose process is lost after its result was stored is a success",
        "completed, without a duration; before, failed with WorkerLostError",
    ),
    "retry_on_worker_lost": Difference(
        (5, 7),
        "the option retry_on_worker_lost retries a job whose process was lost",
        "retried with WorkerLostError; before, the option does not exist",
    ),
    "solo_quits": Difference(
        (5, 7),
        "SIGQUIT ends a solo worker in the middle of a job; in 5.5 and 5.6 only the job fails, and the worker goes on",
        "failed with NotImplementedError, since 5.5",
    ),
    "beat_remote_control": Difference(
        (5, 7),
        "beat may reply to a ping (beat_enable_remote_control)",
        "beat is not listed: workers are recognised by their replies to stats and active_queues",
    ),
}
