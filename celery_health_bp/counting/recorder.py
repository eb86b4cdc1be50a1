"""Counts the attempts of one Celery app in one process, and sends the counts to the store.

A daemon thread, started by the first count, sends the counts. While the store
is away the ledger goes on counting and unsent counts wait; no task waits for
the store.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import Any
from uuid import uuid4

from celery import signals

from ..counts import MAX_ERROR_TYPES
from ..settings import Settings
from ..stores import SOCKET_TIMEOUT_SECONDS, Store, open_store
from .customers import CustomerFinder
from .guard import never_raises
from .ledger import Ledger
from .sender import Sender

logger: logging.Logger = logging.getLogger(__name__)

#: Factor by which the pause grows after each failed flush, and its limit.
BACKOFF_FACTOR, BACKOFF_LIMIT_SECONDS = 2, 5.0
#: Customers and error types that may wait in memory while the store is away, as a multiple of their caps.
WAITING_FACTOR = 10


class Recorder:
    """Counts attempts of one app in one process, and sends the counts to the store.

    Arguments:
        settings: supplies intervals, buckets and the cap of customers.
        store: receives the counts; ``None`` keeps them in this process.

    Attributes:
        settings: the settings.
        ledger: holds the counts. The code that adds the first one also calls ``start``.
        in_worker: whether this process is a worker that runs ``RecorderStep`` and replies with its counts.
        pid: process id of the process that counts.
        name: identifies this process, also among hosts that share a hostname.
    """

    in_worker: bool = False

    def __init__(self, settings: Settings, store: Store | None) -> None:
        factor = 1 if store is None else WAITING_FACTOR
        self.settings = settings
        self.pid: int = os.getpid()
        self.name: str = f"{socket.gethostname()}:{self.pid}:{uuid4().hex[:8]}"
        self.ledger: Ledger = Ledger(
            settings.duration_buckets_seconds, settings.max_customers * factor, MAX_ERROR_TYPES * factor
        )
        self._store = store
        self._sender = None if store is None else Sender(self.ledger, store)
        self._start_lock = Lock()
        self._thread: Thread | None = None
        self._stopping = Event()
        self._finders: dict[str, CustomerFinder] = {}
        self._has_warned_of_step = False
        self._has_logged_error = False

    def store_facts(self) -> dict[str, Any]:
        """Return where the counts go and whether they arrive, for the worker's reply to ``stats``."""
        if self._sender is None:
            return {"kind": "control", "place": "", "keys": "", "id": None}
        return self._sender.facts()

    def announce(self) -> None:
        """Log where the counts of this worker go, and a warning if they cannot arrive there."""
        self.in_worker = True
        if self._sender is None:
            logger.info("job totals stay in this worker (control store): each scrape asks for them")
            return
        logger.info("job totals go to %s every %g s", self._store, self.settings.flush_interval_seconds)
        # The first use of a store imports modules. It happens here, before the flush thread exists:
        # a process forked while that thread holds an import lock would wait for the lock for ever.
        self._try_out(self._sender)

    def expect_step(self) -> None:
        """Warn once if a worker counts without ``RecorderStep``, which sends the last counts at shutdown."""
        if not self.in_worker and not self._has_warned_of_step:
            self._has_warned_of_step = True
            logger.warning(
                "this worker runs without celery_health_bp.counting.bootstep:RecorderStep: its last counts may be lost"
            )

    def finder(self, task: Any) -> CustomerFinder:
        """Return the object that finds the ``customer_id`` of this task's attempts."""
        found = self._finders.get(task.name)
        if found is None or found.task is not task:
            found = self._finders[task.name] = CustomerFinder(task, self.settings)
        return found

    def record_internal_error(self) -> None:
        """Count the exception that is being handled, and log the first one."""
        if not self._has_logged_error:
            self._has_logged_error = True
            logger.exception("counting an attempt failed; the job itself is not affected (logged once)")
        self.ledger.internal_error()

    # -- sending --

    def flush(self) -> bool:
        """Send the counts; ``False``: the store did not accept them, and they will be sent again."""
        return self._sender is None or self._sender.flush()

    def start(self) -> None:
        """Start sending every ``flush_interval_seconds``. Idempotent; does nothing without a store."""
        if self._thread is not None or self._sender is None:
            return
        with self._start_lock:
            if self._thread is None:
                self._stopping = Event()
                thread = Thread(target=self._run, args=(self._stopping,), name="celery-health-flush", daemon=True)
                atexit.unregister(self.stop)
                atexit.register(self.stop)
                # A pool process ends without atexit, and has counts if it ran a task eagerly.
                signals.worker_process_shutdown.connect(self.stop, weak=False, dispatch_uid=self._sender.writer)
                with suppress(RuntimeError):  # Python 3.12 refuses new threads at exit; atexit sends the rest
                    thread.start()
                    self._thread = thread

    def stop(self, **_: Any) -> None:
        """End the thread, send the remaining counts and disconnect. Does nothing in a forked child.

        Called again at exit: jobs of the threads pool may end after the worker (Celery up to 5.4).
        """
        if self.pid != os.getpid():
            return
        thread, self._thread = self._thread, None
        self._stopping.set()
        if thread is not None:
            thread.join(timeout=2 * SOCKET_TIMEOUT_SECONDS)
        try:
            if self.flush():  # sends a batch that failed before
                self.flush()  # sends later counts
        finally:
            self._log_unsent_and_close()

    def _log_unsent_and_close(self) -> None:
        try:
            if self._sender is not None:
                self._sender.log_unsent()
        finally:
            if self._store is not None:
                self._store.close()

    def _run(self, stopping: Event) -> None:
        pause = interval = self.settings.flush_interval_seconds
        while not stopping.wait(pause):
            accepted = self._try_flush()
            pause = interval if accepted else min(pause * BACKOFF_FACTOR, max(interval, BACKOFF_LIMIT_SECONDS))

    @never_raises
    def _try_out(self, sender: Sender) -> None:
        sender.try_out()

    @never_raises
    def _try_flush(self) -> bool:
        return self.flush()


def recorder_of(app: Any) -> Recorder:
    """Return the recorder of an app in this process. A forked child gets its own.

    Raises:
        ConfigurationError: the app's settings are wrong.
    """
    name = f"_celery_health_recorder_{os.getpid()}"
    found: Recorder | None = app.__dict__.get(name)
    if found is None:
        settings = Settings.from_celery(app)
        # If two threads get here, setdefault keeps the first recorder.
        found = app.__dict__.setdefault(name, Recorder(settings, open_store(app, settings)))
    return found


def record_internal_error(app: Any) -> None:
    """Count and log the exception that is being handled, as ``Recorder.record_internal_error``. Never raises."""
    try:
        recorder_of(app).record_internal_error()
    except Exception as exc:  # in most cases wrong settings, in a worker without RecorderStep
        if not app.__dict__.get("_celery_health_unusable"):
            app.__dict__["_celery_health_unusable"] = True
            logger.warning("attempts may go uncounted; the jobs are not affected: %s", exc)
