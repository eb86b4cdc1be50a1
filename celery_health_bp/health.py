"""CeleryHealth: what the workers of one Celery app say, judged. No web framework.

One check answers health, tasks, stats, metrics and the command: it asks all
workers everything at once and is kept for ``cache_seconds``.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from celery import Celery
from celery.local import Proxy

from .agreement import Agreement
from .applications import own_names
from .arguments import factory_of, made_by, require
from .broker import IO_TIMEOUT_SECONDS
from .counts import Counts
from .delivery import delivery_notes
from .errors import CheckError, ConfigurationError, DeadlineExceeded
from .first_use import FirstUse, share_no_locks
from .fleet import Answers, Fleet
from .flight import SingleFlight
from .notes import nothing_counted, partly_counted, warn
from .place import broker_place
from .queues import NOT_KNOWN, declared_queues
from .recorder import recorder_of
from .replies import worker_of
from .report import UNHEALTHY, HealthReport, Observation, Queue, Worker, app_argument, judge
from .settings import Settings
from .stores import Store, open_store
from .versions import warn_if_untested

logger: logging.Logger = logging.getLogger(__name__)

#: The caller waits this much longer than the check may take, as a part of ``timeout_seconds``.
GRACE = 0.1

#: A check waits so long for the id of the store, and less if its deadline is near.
ID_SECONDS = 0.2

#: A worker that does not answer any more is told of for this long, and ``cache_seconds``.
SILENT_SECONDS = 60


class CeleryHealth:
    """Health of one Celery application; share one instance in a process.

    Arguments:
        celery_factory: the Celery app, or a function that returns it and is called on
            first use, once.
        settings: ``None``: the app's ``celery_health`` configuration key, then
            the environment, then the defaults.

    Raises:
        TypeError: an argument is of another type.
        ConfigurationError: a setting in the environment is wrong, or of an app that is
            given as such. Those of an app that a factory returns are known on first use.
    """

    def __init__(self, celery_factory: Celery | Callable[[], Celery], settings: Settings | None = None) -> None:
        self._factory = factory_of(celery_factory)
        self._app: Celery | None = None
        self._settings = settings
        self._report: HealthReport | None = None
        self._first_use = FirstUse()
        self._processes: dict[int, _Process] = {}
        if settings is not None:
            require(settings, Settings, "CeleryHealth", "Settings(...) or Settings.from_mapping({...})")
            self._until_known = settings
        elif type(celery_factory) is not Proxy and isinstance(celery_factory, Celery):
            self._until_known = Settings.from_celery(celery_factory)  # looked at now, read on first use
        else:
            self._until_known = Settings.from_env()

    @property
    def app(self) -> Celery:
        """The injected Celery app.

        Raises:
            DeadlineExceeded: another thread still waits for the factory, or the factory itself asks.
        """
        if self._app is not None:
            return self._app
        with self._first_use.alone(self._patience_seconds):
            return self._prepare_app()

    @property
    def settings(self) -> Settings:
        """The settings in force.

        Raises:
            ConfigurationError: the app's ``celery_health`` configuration is wrong.
            DeadlineExceeded: see ``app``.
        """
        if self._settings is not None:
            return self._settings
        with self._first_use.alone(self._patience_seconds):
            return self._prepare_settings()

    def check(self) -> HealthReport:
        """The verdict, by ``timeout_seconds`` at the latest; the same object as long as nobody is asked again.

        May be called by any thread, and by a signal handler.
        """
        observation, report = self.observe(), self._report
        if report is None or report.observation is not observation:
            settings, name = self._settings or self._until_known, self._app.main if self._app is not None else None
            self._report = report = judge(observation, settings, app_argument(name, settings))
        return report

    def observe(self) -> Observation:
        """What the workers say: of the last ``cache_seconds``, or asked now.

        A broker that cannot be reached is no exception but its ``problem``.
        """
        try:
            process = self._process()
        except DeadlineExceeded as problem:
            return Observation(time.time(), self._patience_seconds, problem=problem)
        return process.observe()

    def ask(self) -> Observation:
        """As ``observe``, for answers that would be wrong without a worker's reply.

        Raises:
            CheckError: the workers could not be asked, or none answered.
        """
        observation = self.observe()
        if observation.problem is not None:
            raise observation.problem
        if not observation.workers:
            seconds = self.settings.timeout_seconds
            raise DeadlineExceeded(f"No worker answered within {seconds:g} s", "Start Celery workers")
        return observation

    def job_counts(self) -> list[tuple[str | None, Counts]]:
        """The job counts of all workers, each with its worker's name; of the whole fleet: ``None``.

        Raises:
            StoreUnavailable: the store could not be read.
            CheckError: there is no store, and the workers could not be asked.
        """
        return self._process().job_counts()

    def close(self) -> None:
        """Close this process's connections; the next check opens new ones. Done by itself at exit."""
        found = self._processes.get(os.getpid())
        if found is not None:
            found.close()

    def _process(self) -> _Process:
        # A forked child must not use its parent's connections, threads and locks.
        found = self._processes.get(os.getpid())
        if found is None:
            with self._first_use.alone(self._patience_seconds):
                found = self._processes.get(os.getpid()) or self._prepare_process()
        return found

    @property
    def _patience_seconds(self) -> float:
        return self._until_known.timeout_seconds * (1 + GRACE)

    def _prepare_app(self) -> Celery:
        if self._app is None:
            self._app = made_by(self._factory)
        return self._app

    def _prepare_settings(self) -> Settings:
        if self._settings is None:
            self._settings = Settings.from_celery(self._prepare_app())
        return self._settings

    def _prepare_process(self) -> _Process:
        made = self._processes[os.getpid()] = _Process(self._prepare_app(), self._prepare_settings())
        atexit.register(made.close)
        return made


class _Process:
    """What one process holds: its connection, its last observation, its store."""

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._fleet = Fleet(app, settings.queues, settings.cache_seconds + SILENT_SECONDS)
        self._fleet_lock = threading.Lock()
        self._checks = SingleFlight(self._check)
        self._counts = SingleFlight(self._ask_counts)
        self._agreement: Agreement | None = None
        self._told_of_nothing_counted = False
        self._last: tuple[float, Observation] | None = None
        self._pid = os.getpid()
        self._store_found = _open_store(app, settings)
        warn_if_untested()
        own_names(app)  # makes the app's tasks
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
        if self._store is not None:
            recorder_of(self._app).flush()  # what this process ran eagerly belongs to the totals
            return [(None, self._store.totals(self._settings.timeout_seconds))]
        try:
            return self._counts.result(self._settings.timeout_seconds * (1 + GRACE))[0]
        except TimeoutError:
            raise overdue(self._app, self._settings) from None

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
        names = self._settings.queues or declared_queues(self._app)
        unread = {name: Queue(NOT_KNOWN, None) for name in names}
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


def observation_of(answers: Answers, duration_seconds: float, notes: tuple[str, ...] = ()) -> Observation:
    """The observation that a check's answers make.

    Arguments:
        notes: sentences of our own on what is not known.
    """
    workers, others = _workers_of(answers.facts), _workers_of(answers.others)
    consumed = Counter(name for worker in workers for name in worker.queues or ())
    sure = answers.problem is None and all(worker.queues is not None for worker in workers)
    silent = {name: round(seconds) for name, seconds in sorted(answers.silent.items())}
    return Observation(
        taken_at=time.time(),
        duration_seconds=duration_seconds,
        workers=workers,
        queues={
            name: Queue(length, consumed[name] if sure or consumed[name] else None)
            for name, length in answers.lengths.items()
        },
        problem=answers.problem,
        silent=tuple(silent),
        not_known=(
            *(f"{name}: not answering since {seconds} s" for name, seconds in silent.items()),
            *(f"{name}: several nodes answer under this name, one of them is shown" for name in answers.doubled),
            *(f"{name}: a reply was too long to be read" for name in answers.unread),
            *delivery_notes(workers, time.time()),
            *(
                f"{worker.name} of the application {worker.application} consumes queue {queue}: it takes our messages"
                for worker in others
                for queue in worker.queues or ()
                if queue in answers.lengths
            ),
            *notes,
        ),
        others=others,
    )


def _workers_of(facts: Mapping[str, Mapping[str, Any]]) -> tuple[Worker, ...]:
    found = (worker_of(name, said) for name, said in sorted(facts.items()))
    return tuple(worker for worker in found if worker is not None)
