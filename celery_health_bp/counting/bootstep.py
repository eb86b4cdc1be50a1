"""Starts and stops counting with the worker, and replies with its counts."""

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
from .request import MonitoredRequest, count_unfinished
from .snapshot import inspection

#: Methods of the consumer with which a shutdown cancels attempts: of Celery 5.5, and of later versions.
CANCEL_METHODS: tuple[str, ...] = ("cancel_all_unacked_requests", "cancel_active_requests")


class RecorderStep(bootsteps.StartStopStep):  # type: ignore[misc]  # celery ships no types
    """Bootstep that starts the recorder with the worker, and sends the last counts at shutdown.

    Wrong settings stop the worker at start with a ``ConfigurationError``.
    """

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._recorder: Recorder = recorder_of(worker.app)
        self._registry: Registry = Registry(worker.app)

    def include(self, parent: Any) -> bool:
        """Insert this step as the first one: it stops last, after the jobs of the pool."""
        parent.steps.insert(0, self)
        self.obj = self
        return True

    def start(self, parent: Any) -> None:
        """Start sending, and log where the counts go and which tasks are not counted."""
        warn_if_untested()
        self._recorder.announce()
        self._recorder.start()
        self._registry.log()
        _watch_shutdown(parent.consumer)

    def stop(self, parent: Any) -> None:
        """Send the last counts at a warm shutdown."""
        self._recorder.stop()

    def terminate(self, parent: Any) -> None:
        """Send the counts at a cold shutdown.

        Attempts that the shutdown killed without a report (prefork of Celery 5.2) are counted at exit,
        when threads have been waited for and anything that still runs ends with the process.
        """
        atexit.register(count_unfinished)  # runs before Recorder.stop, which sends these counts
        self._recorder.stop()

    def info(self, parent: Any) -> dict[str, Any]:
        """Return this package's part of the worker's reply to ``stats``."""
        return {
            STATS_KEY: {
                "application": parent.app.main,
                "store": self._recorder.store_facts(),
                "tasks": self._registry.facts(),
                "inspection": inspection(parent.consumer),
            }
        }


def _watch_shutdown(consumer: Any) -> None:
    """Let requests distinguish a cancellation by shutdown from one by a lost connection."""
    MonitoredRequest.shutdown_cancels = False
    for name in CANCEL_METHODS:
        cancel = getattr(consumer, name, None)
        if cancel is not None:
            setattr(consumer, name, functools.partial(_cancel, cancel))


def _cancel(cancel: Callable[[], None]) -> None:
    """Cancel the running attempts. The flag stays set: signal handlers may nest, and the process ends next."""
    MonitoredRequest.shutdown_cancels = True
    cancel()


@inspect_command(name=COUNTS_COMMAND)  # type: ignore[untyped-decorator]  # celery ships no types
def counts(state: Any, **_: Any) -> dict[str, Any]:
    """Return all counts since the worker started, for a scrape without a store."""
    return recorder_of(state.app).ledger.copy().to_rows()
