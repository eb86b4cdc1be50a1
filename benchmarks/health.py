"""Compare ``health/`` with other ways to check workers: ``python -m benchmarks.health [--quick]`` (POSIX).

Three real workers on one Redis run no jobs. All measurements are interleaved.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from subprocess import DEVNULL, run
from typing import Any

from celery import Celery
from flask import Flask

from celery_health_bp import CeleryHealth, Settings, create_blueprint
from tests.support.processes import ROOT, Web, Worker, celery_environ, wait_until

from .measure import Figure, Table, at_least, compared, figure, interleaved, main
from .peers import DJANGO_HEALTH_CHECK, FLOWER, fetch, installed, missing
from .stage import getter, redis_server

HEALTH = "/api/celery/health/"
WORKERS, QUICK_WORKERS = 3, 1
#: Peer -> its page that asks the workers.
PAGES = {FLOWER: "/api/workers?refresh=1", DJANGO_HEALTH_CHECK: "/ping/"}

COLD, FIRST, OVER_HTTP = "GET health/, cold", "GET health/, first of a process", "GET health/, cold, over HTTP"
PLAIN = "GET health/, cold, workers without this package"
THREE = "inspect: ping + active + scheduled"
WARM, EMPTY = "GET health/, warm", "GET of a view that returns an empty text"
COMMAND = "celery -A app health"

IN_PROCESS_NOTES = (
    "Cold: no cache. A check asks all workers for all data of health/, tasks/ and stats/, and reads the queue lengths.",
    "Workers with a task of this package send all of it in one reply, others in five.",
    "First: includes connecting; the number of workers is not known yet.",
    "Celery's calls use their defaults: they always wait for their timeout of 1 s.",
)
HTTP_NOTES = (
    "Each tool has its own server on the same machine.",
    "Flower and django-health-check also wait for timeouts.",
)
WARM_NOTES = ("Both are views of one Flask application, called without a server. With one, the difference is smaller.",)
COMMAND_NOTES = (
    "CPU: user and system time of the process, nearly all for the import of Celery, which a probe over HTTP avoids.",
)


class Stage:
    """Workers on a separate Redis, and the ways to check them.

    Arguments:
        stack: stops everything.
        workers: number of workers.
        app: the workers' app, ``module:name``.
    """

    def __init__(self, stack: ExitStack, workers: int, app: str) -> None:
        self._stack = stack
        self._workers = [f"worker{number}" for number in range(workers)]
        self.url = stack.enter_context(redis_server()).url
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in self._workers:
            stack.callback(Worker(self.url, self._folder, app=app, name=name, concurrency=1, ready=False).end)
        self._app = Celery("upstream", broker=self.url)

    def site(self, cache_seconds: float) -> Flask:
        """Return an application with the blueprint and an empty view. It has already seen all workers."""
        health = CeleryHealth(lambda: self._app, Settings(cache_seconds=cache_seconds))
        self._stack.callback(health.close)
        wait_until(lambda: len(health.check().active_workers) == len(self._workers), "all workers are known", 60)
        flask = Flask("site")
        flask.register_blueprint(create_blueprint(health), url_prefix="/api/celery")
        flask.add_url_rule("/empty", view_func=lambda: "")
        return flask

    def first(self) -> None:
        """Run the first check of a new ``CeleryHealth``."""
        health = CeleryHealth(lambda: self._app, Settings(cache_seconds=0))
        health.check()
        health.close()

    def in_process(self, plain: Stage) -> dict[str, Callable[[], Any]]:
        """Return ours, for workers with and (``plain``) without a task of this package, and Celery's own calls."""
        inspect = self._app.control.inspect()
        return {
            COLD: getter(self.site(0), HEALTH),
            PLAIN: getter(plain.site(0), HEALTH),
            FIRST: self.first,
            "inspect: ping": inspect.ping,
            THREE: lambda: (inspect.ping(), inspect.active(), inspect.scheduled()),
        }

    def over_http(self) -> dict[str, Callable[[], Any]]:
        """Return ours under gunicorn, and the installed peers."""
        web = Web(self.url, self._folder, environ={"CELERY_HEALTH_CACHE_SECONDS": "0"})
        self._stack.callback(web.end)
        url = web.url + HEALTH
        wait_until(
            lambda: json.loads(fetch(url))["workers"]["worker_count"] == len(self._workers), "all workers are known"
        )
        subjects: dict[str, Callable[[], Any]] = {OVER_HTTP: lambda: fetch(url)}
        for peer in installed(PAGES):
            server = peer.start(self.url, self._folder)
            self._stack.callback(server.end)
            subjects[f"{peer.name} {peer.version}: {PAGES[peer]}"] = lambda s=server, page=PAGES[peer]: s.get(page)
        return subjects

    def commands(self) -> dict[str, list[str]]:
        """Return the commands of exec probes in Kubernetes or Docker."""
        celery = [sys.executable, "-m", "celery", "-A", "tests.support.apps.jobs:app"]
        flask = [sys.executable, "-m", "flask", "--app", "tests.support.web"]
        return {
            COMMAND: [*celery, "health"],
            "flask --app web celery-health": [*flask, "celery-health"],
            "celery -A app inspect ping": [*celery, "inspect", "ping"],
            "celery -A app inspect ping -d NODE": [*celery, "inspect", "ping", "-d", f"{self._workers[0]}@testhost"],
        }


class Commands:
    """Run commands one by one and record their CPU time."""

    def __init__(self, broker_url: str) -> None:
        self._environ = celery_environ(broker_url)
        self.cpu: dict[str, list[float]] = {}

    def run(self, name: str, command: list[str]) -> None:
        """Run a command to its end and discard its output.

        Raises:
            CalledProcessError: it failed.
        """
        before = _cpu_ms()
        run(command, env=self._environ, cwd=ROOT, stdin=DEVNULL, capture_output=True, check=True)  # noqa: S603
        self.cpu.setdefault(name, []).append(_cpu_ms() - before)


def _cpu_ms() -> float:
    """Return user and system time of all ended child processes."""
    usage = getrusage(RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) * 1000


def measure(quick: bool) -> list[Table]:
    """Measure checks in process, over HTTP, from the cache and by command."""
    with ExitStack() as stack:
        workers = QUICK_WORKERS if quick else WORKERS
        stage, plain = (
            Stage(stack, workers, "tests.support.apps.jobs:app"),
            Stage(stack, workers, "tests.support.apps.plain_jobs:app"),
        )
        in_process, over_http = stage.in_process(plain), stage.over_http()
        slow = interleaved({**in_process, **over_http}, 1 if quick else 15)
        return [
            in_process_table(workers, {name: slow[name] for name in in_process}),
            compared(
                f"Health over HTTP, workers: {workers}",
                {name: slow[name] for name in over_http},
                OVER_HTTP,
                notes=[*HTTP_NOTES, *missing(PAGES)],
            ),
            warm_table(stage.site(3600), 20 if quick else 5000),
            command_table(stage, 1 if quick else 7),
        ]


def in_process_table(workers: int, figures: Mapping[str, Figure]) -> Table:
    """Return the table of our check and Celery's own calls."""
    goal = at_least("health/, cold: times faster than " + THREE, 200, figures[THREE].median / figures[COLD].median)
    return compared(f"Health in process, workers: {workers}", figures, COLD, notes=IN_PROCESS_NOTES, goals=[goal])


def warm_table(site: Flask, rounds: int) -> Table:
    """Return the table of a cached check and an empty view."""
    figures = interleaved({WARM: getter(site, HEALTH), EMPTY: getter(site, "/empty")}, rounds)
    goal = at_least(
        "health/, warm: part of the rate of an empty view", 0.7, figures[EMPTY].median / figures[WARM].median
    )
    return compared("Health within cache_seconds", figures, WARM, notes=WARM_NOTES, goals=[goal])


def command_table(stage: Stage, rounds: int) -> Table:
    """Return the table of wall and CPU time of exec probes."""
    commands = Commands(stage.url)
    subjects = {name: lambda n=name, c=command: commands.run(n, c) for name, command in stage.commands().items()}
    wall = interleaved(subjects, rounds)
    rows = [(name, wall[name], figure(commands.cpu[name])) for name in subjects]
    heads = ("", "wall ms: median (quartiles)", "CPU ms: median (quartiles)")
    return Table("Health by command, as an exec probe", heads, rows, COMMAND_NOTES)


if __name__ == "__main__":
    main(measure, __doc__)
