"""CeleryHealth: what the workers of one Celery app say, judged. No web framework.

One check answers health, tasks, stats, metrics and the command: it asks all
workers everything at once and is kept for ``cache_seconds``.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Callable

from celery import Celery
from celery.local import Proxy

from .arguments import factory_of, made_by, require
from .asking.applications import watch
from .counts import Counts
from .errors import DeadlineExceeded, ReplyTooLong
from .first_use import FirstUse
from .notes import name_list
from .observer import GRACE, Observer
from .report import HealthReport, Observation
from .settings import Settings
from .verdict import app_argument, judge

logger: logging.Logger = logging.getLogger(__name__)


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
        self._observers: dict[int, Observer] = {}
        given = type(celery_factory) is not Proxy and isinstance(celery_factory, Celery)
        if given:
            watch(celery_factory)
        if settings is not None:
            require(settings, Settings, "CeleryHealth", "Settings(...) or Settings.from_mapping({...})")
            self._until_known = settings
        elif given:
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
            observer = self._observer()
        except DeadlineExceeded as problem:
            return Observation(time.time(), self._patience_seconds, problem=problem)
        return observer.observe()

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
        if observation.unread:
            names = name_list(observation.unread)
            raise ReplyTooLong(
                f"What all workers run is not known: a reply of {names} was too long to be read",
                "Look at the jobs with an ETA that the worker holds",
            )
        return observation

    def job_counts(self) -> list[tuple[str | None, Counts]]:
        """The job counts of all workers, each with its worker's name; of the whole fleet: ``None``.

        Raises:
            StoreUnavailable: the store could not be read.
            CheckError: there is no store, and the workers could not be asked.
        """
        return self._observer().job_counts()

    def close(self) -> None:
        """Close this process's connections; the next check opens new ones. Done by itself at exit."""
        found = self._observers.get(os.getpid())
        if found is not None:
            found.close()

    def _observer(self) -> Observer:
        # A forked child must not use its parent's connections, threads and locks.
        found = self._observers.get(os.getpid())
        if found is None:
            with self._first_use.alone(self._patience_seconds):
                found = self._observers.get(os.getpid()) or self._prepare_observer()
        return found

    @property
    def _patience_seconds(self) -> float:
        return self._until_known.timeout_seconds * (1 + GRACE)

    def _prepare_app(self) -> Celery:
        if self._app is None:
            self._app = made_by(self._factory)
            watch(self._app)
        return self._app

    def _prepare_settings(self) -> Settings:
        if self._settings is None:
            self._settings = Settings.from_celery(self._prepare_app())
        return self._settings

    def _prepare_observer(self) -> Observer:
        made = self._observers[os.getpid()] = Observer(self._prepare_app(), self._prepare_settings())
        atexit.register(made.close)
        return made
