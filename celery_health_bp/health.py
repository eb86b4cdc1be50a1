"""``CeleryHealth``: checks the workers of one Celery app, without a web framework.

Health, tasks, stats, metrics and the command share one check, which asks all workers everything at once and
is cached for ``cache_seconds``.
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
    """Health checks of one Celery application. Thread-safe: share one instance in a process.

    Arguments:
        celery_factory: the Celery app, or a function that returns it. The function is called once, on first
            use.
        settings: the settings. ``None``: they are read from the app's ``celery_health`` configuration key,
            then from the environment, then from the defaults.

    Raises:
        TypeError: an argument has the wrong type.
        ConfigurationError: a setting in the environment, or in the configuration of the given app, is wrong.
            With a factory, the app's configuration is read on first use.
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
            self._initial_settings = settings
        elif given:
            self._initial_settings = Settings.from_celery(celery_factory)  # validated now, read again on first use
        else:
            self._initial_settings = Settings.from_env()

    @property
    def app(self) -> Celery:
        """The Celery app; calls ``celery_factory`` on first use.

        Raises:
            DeadlineExceeded: another thread is still calling ``celery_factory``, or ``celery_factory`` itself
                reads this property.
            ConfigurationError: ``celery_factory`` did not return a Celery app.
        """
        if self._app is not None:
            return self._app
        with self._first_use.alone(self._wait_seconds):
            return self._prepare_app()

    @property
    def settings(self) -> Settings:
        """The settings; read from the app on first use if none were given.

        Raises:
            ConfigurationError: the app's ``celery_health`` configuration is wrong; see also ``app``.
            DeadlineExceeded: see ``app``.
        """
        if self._settings is not None:
            return self._settings
        with self._first_use.alone(self._wait_seconds):
            return self._prepare_settings()

    def check(self) -> HealthReport:
        """Return the report, after ``timeout_seconds`` at the latest. Cached checks return the same object.

        Any thread and any signal handler may call it. A broker that cannot be reached makes the report
        unhealthy and raises nothing.

        Raises:
            ConfigurationError: see ``settings``.
        """
        observation, report = self.observe(), self._report
        if report is None or report.observation is not observation:
            settings, name = self._settings or self._initial_settings, self._app.main if self._app is not None else None
            self._report = report = judge(observation, settings, app_argument(name, settings))
        return report

    def observe(self) -> Observation:
        """Ask the workers, or return the last observation if it is younger than ``cache_seconds``.

        If the workers cannot be asked, the observation has a ``problem``; nothing is raised.

        Raises:
            ConfigurationError: see ``settings``.
        """
        try:
            observer = self._observer()
        except DeadlineExceeded as problem:
            return Observation(time.time(), self._wait_seconds, problem=problem)
        return observer.observe()

    def ask(self) -> Observation:
        """Return an observation like ``observe``, but raise if it lacks the reply of a worker.

        Raises:
            CheckError: the workers could not be asked, none replied, or a reply was too long to be read.
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
        """Return the job counts as pairs of worker name and counts.

        With a store, there is one pair with the totals of the whole fleet, and its name is ``None``.

        Raises:
            StoreUnavailable: the store could not be read.
            CheckError: there is no store, and the workers could not be asked.
            ConfigurationError: see ``settings``.
        """
        return self._observer().job_counts()

    def close(self) -> None:
        """Close this process's connections; the next check opens new ones. Called automatically at exit."""
        found = self._observers.get(os.getpid())
        if found is not None:
            found.close()

    def _observer(self) -> Observer:
        # One per process: a forked child must not use its parent's connections, threads and locks.
        found = self._observers.get(os.getpid())
        if found is None:
            with self._first_use.alone(self._wait_seconds):
                found = self._observers.get(os.getpid()) or self._prepare_observer()
        return found

    @property
    def _wait_seconds(self) -> float:
        return self._initial_settings.timeout_seconds * (1 + GRACE)

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
        created = self._observers[os.getpid()] = Observer(self._prepare_app(), self._prepare_settings())
        atexit.register(created.close)
        return created
