"""One process's connection to the workers, its last observation, and its store of job totals."""

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
from .first_use import renew_locks_in_children
from .notes import nothing_counted, partly_counted, warn
from .report import UNHEALTHY, Observation, Queue
from .settings import Settings
from .stores import Store, open_store
from .verdict import judge
from .versions import warn_if_untested

logger: logging.Logger = logging.getLogger(__name__)

#: Fraction of ``timeout_seconds`` that a caller waits in addition to the deadline of the check.
GRACE = 0.1

#: How long a check waits for the id of the store, at most; less if its deadline is near.
ID_SECONDS = 0.2

#: How long a silent worker stays in the report, in addition to ``cache_seconds``.
SILENT_SECONDS = 60


class Observer:
    """Observes the workers of one app, in one process. Thread-safe.

    Arguments:
        app: the Celery app.
        settings: the queues to measure, deadlines, cache and store.
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
        self._warned_of_nothing_counted = False
        self._last: tuple[float, Observation] | None = None
        self._pid = os.getpid()
        self._store_found = _open_store(app, settings)
        warn_if_untested()
        own_names(app)  # finalizes the app, which creates its tasks
        self._queue_names: Collection[str] = settings.queues or ()
        with suppress(Exception):  # the check reports invalid task_queues
            # Read now: an overdue check may hold the lock that reading them takes.
            self._queue_names = settings.queues or declared_queues(app)
        with suppress(Exception):  # the check reports a wrong broker URL
            # Imports the transport: that takes as long as many checks, and must not count for a deadline.
            renew_locks_in_children(app)

    def close(self) -> None:
        """Delete the reply queue and close the connections; a check that is stuck is not waited for."""
        if self._pid == os.getpid() and self._fleet_lock.acquire(timeout=IO_TIMEOUT_SECONDS):
            try:
                self._fleet.close()
            finally:
                self._fleet_lock.release()
        if self._pid == os.getpid() and not isinstance(self._store_found, ConfigurationError | None):
            self._store_found.close()

    def observe(self) -> Observation:
        """Return the last observation if it is younger than ``cache_seconds``, else a new one.

        Failures are in ``Observation.problem``; nothing is raised.
        """
        settings, last = self._settings, self._last
        if last is not None and time.monotonic() - last[0] < settings.cache_seconds:
            return last[1]
        began = time.monotonic()
        wait_seconds = settings.timeout_seconds * (1 + GRACE)
        try:
            observation, fresh = self._checks.result(wait_seconds)
        except TimeoutError:
            return self._failed(began, overdue(self._app, settings))
        if not fresh and not self._is_cacheable(observation):
            # That check began before this call: its fault may be over.
            with suppress(TimeoutError):
                observation, _ = self._checks.result(began + wait_seconds - time.monotonic())
        return observation

    def job_counts(self) -> list[tuple[str | None, Counts]]:
        """Return the totals from the store or, without a store, the counts of each worker.

        Returns:
            Pairs of worker name and counts; with a store, one pair with the name ``None``.

        Raises:
            StoreUnavailable: the store could not be read in time.
            CheckError: there is no store, and the workers could not be asked in time.
            ConfigurationError: the setting ``metrics_store`` is wrong.
        """
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
                if fresh:  # else the read began before this call, and may lack the latest counts
                    return totals
        except TimeoutError:
            raise StoreUnavailable(f"job totals: {store} did not answer within {seconds:g} s") from None

    def _read_totals(self) -> Counts:
        """Read the totals. Runs on the thread of ``SingleFlight``: each server of a list may use its timeout."""
        try:
            recorder_of(self._app).flush()  # attempts that this process ran eagerly are part of the totals
        except Exception:  # the workers' totals can still be read
            record_internal_error(self._app)
        return cast(Store, self._store).totals(self._settings.timeout_seconds)

    @property
    def _store(self) -> Store | None:
        """The store of the job totals; ``None``: each worker keeps its counts.

        Raises:
            ConfigurationError: the setting ``metrics_store`` is wrong.
        """
        if isinstance(self._store_found, ConfigurationError):
            raise ConfigurationError(str(self._store_found))
        return self._store_found

    def _check(self) -> Observation:
        """Check once. Runs on the thread of ``SingleFlight``."""
        began = time.monotonic()
        try:
            with self._fleet_lock:
                answers = self._fleet.ask(self._settings.timeout_seconds)
        except CheckError as problem:
            observation = self._failed(began, problem)
        else:
            observation = self._annotated(observation_of(answers, time.monotonic() - began, self._notes()), began)
        # Unhealthy results are not cached: the first check after a fault must see that it is over.
        self._last = (time.monotonic(), observation) if self._is_cacheable(observation) else None
        return observation

    def _annotated(self, observation: Observation, began: float) -> Observation:
        """Add notes on tasks that are not counted, and on workers that send their job totals to another store."""
        nothing = nothing_counted(observation.workers)
        if nothing and not self._warned_of_nothing_counted:
            self._warned_of_nothing_counted = True
            warn(*nothing)
        notes = (*observation.not_known, *nothing, *partly_counted(observation.workers))
        left = max(0.0, began + self._settings.timeout_seconds - time.monotonic())
        try:
            self._agreement = self._agreement or Agreement(self._store)
        except ConfigurationError:  # of the store: the scrape reports it
            return replace(observation, not_known=notes)
        strays, sentences = self._agreement.compare(observation.workers, min(ID_SECONDS, left / 2))
        return replace(observation, strays=strays, not_known=(*notes, *sentences))

    def _is_cacheable(self, observation: Observation) -> bool:
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
        # A worker in this process (memory://) sends the same counts in its reply below.
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
    """Return a configuration error instead of raising it: only scrapes need the store."""
    try:
        return open_store(app, settings)
    except ConfigurationError as error:
        return error


def _counts_of(node: str, rows: Any) -> Counts | None:
    try:
        return Counts.from_rows(rows)
    except Exception:  # a reply may come from another version of this package, or from an attacker
        logger.warning("the counts of %s cannot be read", node, exc_info=True)
        return None


def overdue(app: Celery, settings: Settings) -> CheckError:
    """Return the error for a check that did not end in time.

    Arguments:
        app: the Celery app; its broker is named.
        settings: ``timeout_seconds`` is named.
    """
    try:
        place = broker_place(app)
    except CheckError as malformed:
        return malformed
    return DeadlineExceeded(
        f"Broker {place} did not answer within {settings.timeout_seconds:g} s",
        f"Check whether the broker is overloaded or frozen, and the network to it: {place}",
    )
