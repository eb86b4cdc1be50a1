"""One process's counting for one Celery app: the ledger, and the thread that empties it.

The thread is a daemon that starts with the first count. While the store is
away the ledger goes on counting, and what was to be sent waits; no task ever
waits for the store.
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
from .ledger import Ledger
from .sender import Sender

logger: logging.Logger = logging.getLogger(__name__)

#: How much longer the pause gets after each failed flush, and its limit.
BACKOFF_FACTOR, BACKOFF_LIMIT_SECONDS = 2, 5.0
#: Customers and error types that may wait in memory while the store is away, as a multiple of their caps.
WAITING_FACTOR = 10


class Recorder:
    """Counts attempts of one app in one process and carries them to the store.

    Arguments:
        settings: intervals, buckets and the cap of customers.
        store: where the counts go; ``None``: they stay here until asked for.

    Attributes:
        ledger: counts for it go here; whoever counts the first one calls ``start``.
        in_worker: this process is a worker with our step, which answers for its counts.
        name: names this process, and no other one, also where hosts share a name.
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
        self._warned_of_step = False
        self._failed_once = False

    def store_facts(self) -> dict[str, Any]:
        """Where the counts go, and whether they arrive, for the worker's reply to ``stats``."""
        if self._sender is None:
            return {"kind": "control", "place": "", "keys": "", "id": None}
        return self._sender.facts()

    def announce(self) -> None:
        """The worker's step has started: say where the counts go, and whether they can."""
        self.in_worker = True
        if self._sender is None:
            logger.info("job totals stay in this worker (control store): each scrape asks for them")
            return
        logger.info("job totals go to %s every %g s", self._store, self.settings.flush_interval_seconds)
        # The first use of a store imports modules. Done now: a process forked while our thread holds
        # an import lock would wait for it without end.
        try:
            self._sender.try_out()
        except Exception:
            self.record_internal_error()

    def expect_step(self) -> None:
        """Warn once if a worker counts without our step, which sends the last counts of a shutdown."""
        if not self.in_worker and not self._warned_of_step:
            self._warned_of_step = True
            logger.warning(
                "this worker runs without celery_health_bp.counting.bootstep:RecorderStep: its last counts may be lost"
            )

    def finder(self, task: Any) -> CustomerFinder:
        """Finds the ``customer_id`` of the attempts of a task."""
        found = self._finders.get(task.name)
        if found is None or found.task is not task:
            found = self._finders[task.name] = CustomerFinder(task, self.settings)
        return found

    def record_internal_error(self) -> None:
        """An exception of our own code while counting: log it once, count each."""
        if not self._failed_once:
            self._failed_once = True
            logger.exception("counting an attempt failed; the job itself is not affected (logged once)")
        self.ledger.internal_error()

    # -- carrying --

    def flush(self) -> bool:
        """Send what was counted; ``False`` if the store did not accept it (it will be sent again)."""
        return self._sender is None or self._sender.flush()

    def start(self) -> None:
        """Begin sending every ``flush_interval_seconds``; without a store there is nothing to send."""
        if self._thread is not None or self._sender is None:
            return
        with self._start_lock:
            if self._thread is None:
                self._stopping = Event()
                thread = Thread(target=self._run, args=(self._stopping,), name="celery-health-flush", daemon=True)
                atexit.unregister(self.stop)
                atexit.register(self.stop)
                # A pool process ends without atexit; after a run in it that had no Request it has counts.
                signals.worker_process_shutdown.connect(self.stop, weak=False, dispatch_uid=self._sender.writer)
                with suppress(RuntimeError):  # Python 3.12 ends and starts no thread any more: atexit sends the rest
                    thread.start()
                    self._thread = thread

    def stop(self, **_: Any) -> None:
        """End the thread, send what is left, disconnect; does nothing in a child that inherited this recorder."""
        if self.pid != os.getpid():
            return
        thread, self._thread = self._thread, None
        self._stopping.set()
        if thread is not None:
            thread.join(timeout=2 * SOCKET_TIMEOUT_SECONDS)
        try:
            if self.flush():  # a batch whose sending had failed before goes first,
                self.flush()  # then what was counted since
        finally:
            self._say_unsent_and_close()
        # atexit calls this again: jobs of the threads pool may end after the worker (Celery up to 5.4).

    def _say_unsent_and_close(self) -> None:
        try:
            if self._sender is not None:
                self._sender.say_unsent()
        finally:
            if self._store is not None:
                self._store.close()

    def _run(self, stopping: Event) -> None:
        pause = interval = self.settings.flush_interval_seconds
        while not stopping.wait(pause):
            try:
                taken = self.flush()
            except Exception:
                self.record_internal_error()
                taken = False
            pause = interval if taken else min(pause * BACKOFF_FACTOR, max(interval, BACKOFF_LIMIT_SECONDS))


def recorder_of(app: Any) -> Recorder:
    """The recorder of an app in this process; a forked child gets its own.

    Raises:
        ConfigurationError: the app's settings are wrong.
    """
    name = f"_celery_health_recorder_{os.getpid()}"
    found: Recorder | None = app.__dict__.get(name)
    if found is None:
        settings = Settings.from_celery(app)
        # Two threads may both get here: the first one's recorder stays.
        found = app.__dict__.setdefault(name, Recorder(settings, open_store(app, settings)))
    return found


def record_internal_error(app: Any) -> None:
    """Call it where an exception of our own code ends: logged once, counted, never raised."""
    try:
        recorder_of(app).record_internal_error()
    except Exception as exc:  # above all wrong settings, where no step of ours refused to start
        if not app.__dict__.get("_celery_health_unusable"):
            app.__dict__["_celery_health_unusable"] = True
            logger.warning("attempts may go uncounted; the jobs are not affected: %s", exc)
