"""What one process holds to observe the workers: a connection, the last observation, the store of the job totals."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from celery import Celery

from .asking.agreement import Agreement
from .asking.applications import own_names
from .asking.broker import IO_TIMEOUT_SECONDS
from .asking.fleet import Fleet
from .asking.observation import observation_of
from .asking.place import broker_place
from .asking.queues import NOT_KNOWN, declared_queues
from .asking.single_flight import SingleFlight
from .counting.recorder import record_internal_error, recorder_of
from .counts import Counts
from .errors import CheckError, ConfigurationError, DeadlineExceeded, StoreUnavailable
from .first_use import share_no_locks
from .notes import nothing_counted, partly_counted, warn
from .report import UNHEALTHY, Observation, Queue
from .settings import Settings
from .stores import Store, open_store
from .verdict import judge
from .versions import warn_if_untested

logger: logging.Logger = logging.getLogger(__name__)

#: A caller waits this fraction of ``timeout_seconds`` longer than the check may take.
GRACE = 0.1

#: A check waits at most this long for the id of the store, and less if its deadline is near.
ID_SECONDS = 0.2

#: How long a silent worker stays in the report, in addition to ``cache_seconds``.
SILENT_SECONDS = 60


class Observer:
    """Observes the workers of one app for one process. Any thread may call it.

    Arguments:
        app: the Celery app.
        settings: deadlines, the cache and the store are taken from it.
    """

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._fleet = Fleet(app, settings.queues, settings.cache_seconds + SILENT_SECONDS)
        self._fleet_lock = threading.Lock()
        self._checks = SingleFlight(self._check)
        self._counts = SingleFlight(self._ask_counts)
        self._totals = SingleFlight(self._read_totals)
        self._agreement: Agreement | None = None
        self._told_of_nothing_counted = False
        self._last: tuple[float, Observation] | None = None
        self._pid = os.getpid()
        self._store_found = _open_store(app, settings)
        warn_if_untested()
        own_names(app)  # makes the app's tasks
        self._queue_names: Collection[str] = settings.queues or ()
        with suppress(Exception):  # wrong task_queues are for the check to tell
            # Kept for a check that is overdue: what it waits for may be a lock that reading them takes.
            self._queue_names = settings.queues or declared_queues(app)
        with suppress(Exception):  # a wrong broker URL is for the check to tell
            # Importing the transport takes as long as many checks: it is no part of a deadline.
            share_no_locks(app)

    def close(self) -> None:
        """Leave nothing on the broker; a check that is stuck is left to end by itself."""
        if self._pid == os.getpid() and self._fleet_lock.acquire(timeout=IO_TIMEOUT_SECONDS):
            try:
                self._fleet.close()
            finally:
                self._fleet_lock.release()
        if self._pid == os.getpid() and not isinstance(self._store_found, ConfigurationError | None):
            self._store_found.close()

    def observe(self) -> Observation:
        """Return the last observation while it is younger than ``cache_seconds``, else a new one."""
        settings, last = self._settings, self._last
        if last is not None and time.monotonic() - last[0] < settings.cache_seconds:
            return last[1]
        asked = time.monotonic()
        patience = settings.timeout_seconds * (1 + GRACE)
        try:
            observation, fresh = self._checks.result(patience)
        except TimeoutError:
            return self._failed(asked, overdue(self._app, settings))
        if not fresh and not self._is_sound(observation):
            # That check began before we asked: the fault that it saw may be over.
            with suppress(TimeoutError):
                observation, _ = self._checks.result(asked + patience - time.monotonic())
        return observation

    def job_counts(self) -> list[tuple[str | None, Counts]]:
        """Read the totals from the store or, without one, the counts of each worker."""
        if self._store is not None:
            return [(None, self._totals_in_time(self._store))]
        try:
            return self._counts.result(self._settings.timeout_seconds * (1 + GRACE))[0]
        except TimeoutError:
            raise overdue(self._app, self._settings) from None

    def _totals_in_time(self, store: Store) -> Counts:
        seconds = self._settings.timeout_seconds
        end = time.monotonic() + seconds * (1 + GRACE)
        try:
            while True:
                totals, fresh = self._totals.result(end - time.monotonic())
                if fresh:  # else the reading began before we asked, and may lack what was counted meanwhile
                    return totals
        except TimeoutError:
            raise StoreUnavailable(f"job totals: {store} did not answer within {seconds:g} s") from None

    def _read_totals(self) -> Counts:
        """Read the totals, on a thread of its own: a list of servers may each take their time."""
        try:
            recorder_of(self._app).flush()  # what this process ran eagerly belongs to the totals
        except Exception:  # the workers' totals can be read all the same
            record_internal_error(self._app)
        return cast(Store, self._store).totals(self._settings.timeout_seconds)

    @property
    def _store(self) -> Store | None:
        """Where the totals are; ``None``: the workers have them. Raises what is wrong with its setting."""
        if isinstance(self._store_found, ConfigurationError):
            raise ConfigurationError(str(self._store_found))
        return self._store_found

    def _check(self) -> Observation:
        """One check, on a thread of its own."""
        began = time.monotonic()
        try:
            with self._fleet_lock:
                answers = self._fleet.ask(self._settings.timeout_seconds)
        except CheckError as problem:
            observation = self._failed(began, problem)
        else:
            observation = self._annotated(observation_of(answers, time.monotonic() - began, self._notes()), began)
        # Bad news is not kept: the first check after a fault must see that it is over.
        self._last = (time.monotonic(), observation) if self._is_sound(observation) else None
        return observation

    def _annotated(self, observation: Observation, began: float) -> Observation:
        """The observation, with what its workers do not count, and with those whose job totals go elsewhere."""
        nothing = nothing_counted(observation.workers)
        if nothing and not self._told_of_nothing_counted:
            self._told_of_nothing_counted = True
            warn(*nothing)
        notes = (*observation.not_known, *nothing, *partly_counted(observation.workers))
        left = max(0.0, began + self._settings.timeout_seconds - time.monotonic())
        try:
            self._agreement = self._agreement or Agreement(self._store)
        except ConfigurationError:  # of the store: the scrape tells
            return replace(observation, not_known=notes)
        strays, sentences = self._agreement.compare(observation.workers, min(ID_SECONDS, left / 2))
        return replace(observation, strays=strays, not_known=(*notes, *sentences))

    def _is_sound(self, observation: Observation) -> bool:
        return judge(observation, self._settings, "").status != UNHEALTHY

    def _failed(self, began: float, problem: CheckError) -> Observation:
        unread = {name: Queue(NOT_KNOWN, None) for name in self._queue_names}
        return Observation(
            time.time(), time.monotonic() - began, queues=unread, problem=problem, not_known=self._notes()
        )

    def _notes(self) -> tuple[str, ...]:
        if self._app.conf.task_always_eager:
            return ("task_always_eager is on: this process runs its tasks itself, workers do not see them",)
        return ()

    def _ask_counts(self) -> list[tuple[str | None, Counts]]:
        recorder = recorder_of(self._app)
        # A worker in this very process (memory://) answers for the same counts below.
        local = Counts() if recorder.in_worker else recorder.ledger.copy()
        counts: list[tuple[str | None, Counts]] = [(recorder.name, local)] if local else []
        observation = self.observe()
        if observation.problem is not None and not counts:
            raise observation.problem
        nodes = [worker.name for worker in observation.workers if worker.monitored]
        if nodes:
            with self._fleet_lock:
                replies = self._fleet.ask_counts(nodes, self._settings.timeout_seconds / 2)
            counts += [
                (node, found) for node, rows in sorted(replies.items()) if (found := _counts_of(node, rows)) is not None
            ]
        return counts


def _open_store(app: Celery, settings: Settings) -> Store | ConfigurationError | None:
    """A wrong setting is for the scrape to tell: health does not need the store."""
    try:
        return open_store(app, settings)
    except ConfigurationError as error:
        return error


def _counts_of(node: str, rows: Any) -> Counts | None:
    try:
        return Counts.from_rows(rows)
    except Exception:  # a reply comes from any version of this package, or from anybody
        logger.warning("the counts of %s cannot be read", node, exc_info=True)
        return None


def overdue(app: Celery, settings: Settings) -> CheckError:
    """The problem of a check that did not even come back to say what is wrong."""
    try:
        place = broker_place(app)
    except CheckError as malformed:
        return malformed
    return DeadlineExceeded(
        f"Broker {place} did not answer within {settings.timeout_seconds:g} s",
        f"Check whether the broker is overloaded or frozen, and the network to it: {place}",
    )
