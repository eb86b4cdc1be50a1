"""What runs in the worker's main process beside the jobs."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.worker.control import inspect_command

from ..versions import warn_if_untested
from ..wire import COUNTS_COMMAND, STATS_KEY
from .recorder import Recorder, recorder_of
from .registry import Registry
from .request import MonitoredRequest, count_the_rest
from .snapshot import inspection

#: The consumer's method by which a shutdown cancels what runs: that of Celery 5.5, and that of the versions after it.
CANCELLING: tuple[str, ...] = ("cancel_all_unacked_requests", "cancel_active_requests")


class RecorderStep(bootsteps.StartStopStep):  # type: ignore[misc]  # celery ships no types
    """Starts the recorder with the worker, and sends the last counts when it ends.

    Wrong settings end the worker at its start with their message.
    """

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._recorder: Recorder = recorder_of(worker.app)
        self._registry: Registry = Registry(worker.app)

    def include(self, parent: Any) -> bool:
        """Join as the first step: it stops last, after the pool's jobs have ended."""
        parent.steps.insert(0, self)
        self.obj = self
        return True

    def start(self, parent: Any) -> None:
        """Say where the counts go, begin sending, and say which tasks will not be counted."""
        warn_if_untested()
        self._recorder.announce()
        self._recorder.start()
        self._registry.log()
        _watch_shutdown(parent.consumer)

    def stop(self, parent: Any) -> None:
        """Send the last counts of a warm shutdown."""
        self._recorder.stop()

    def terminate(self, parent: Any) -> None:
        """Send the counts of a cold shutdown; what it killed without a word is known when the process ends.

        Threads have been waited for then: what still runs ends with this process (``cold_shutdown_tells``).
        """
        atexit.register(count_the_rest)  # before the recorder's own, which sends it
        self._recorder.stop()

    def info(self, parent: Any) -> dict[str, Any]:
        """Our part of the worker's reply to ``stats``: that it can be asked for its counts, and what it does."""
        return {
            STATS_KEY: {
                "application": parent.app.main,
                "store": self._recorder.store_facts(),
                "tasks": self._registry.facts(),
                "inspection": inspection(parent.consumer),
            }
        }


def _watch_shutdown(consumer: Any) -> None:
    """Have the requests know that a shutdown cancels them, and not a lost connection."""
    MonitoredRequest.shutdown_cancels = False
    for name in CANCELLING:
        cancel = getattr(consumer, name, None)
        if cancel is not None:
            setattr(consumer, name, functools.partial(_cancel, cancel))


def _cancel(cancel: Callable[[], None]) -> None:
    """Cancel what runs. The mark stays: signal handlers interrupt each other, and the process ends after this."""
    MonitoredRequest.shutdown_cancels = True
    cancel()


@inspect_command(name=COUNTS_COMMAND)  # type: ignore[untyped-decorator]  # celery ships no types
def counts(state: Any, **_: Any) -> dict[str, Any]:
    """What this worker counted since it started, for a scrape without a store."""
    return recorder_of(state.app).ledger.copy().to_rows()
