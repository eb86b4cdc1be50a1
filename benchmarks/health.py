"""How long ``health/`` takes, beside what users ask today: ``python -m benchmarks.health [--quick]`` (POSIX).

Three real workers that run no jobs, on one Redis; everything interleaved.
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
#: The page of a peer that asks the workers.
PAGES = {FLOWER: "/api/workers?refresh=1", DJANGO_HEALTH_CHECK: "/ping/"}

COLD, FIRST, OVER_HTTP = "GET health/, cold", "GET health/, first of a process", "GET health/, cold, over HTTP"
PLAIN = "GET health/, cold, workers without this package"
THREE = "inspect: ping + active + scheduled"
WARM, EMPTY = "GET health/, warm", "GET of a view that returns an empty text"
COMMAND = "celery -A app health"

IN_PROCESS_NOTES = (
    "Cold: no cache; all workers are asked for all that health/, tasks/ and stats/ show, and the queues are measured.",
    "Workers with a task of this package say all of it in one reply, others in five.",
    "First: it connects, and does not know yet how many will answer.",
    "Celery's calls with their defaults: they wait for their timeout of 1 s, whoever has answered.",
)
HTTP_NOTES = (
    "Each behind its own server on the same machine.",
    "Flower and django-health-check wait for timeouts too.",
)
WARM_NOTES = ("Both views of one Flask application, called without a server: with one the difference is smaller.",)
COMMAND_NOTES = (
    "CPU: user and system time of the process. Nearly all of it is importing Celery: a probe over HTTP has none of it.",
)


class Stage:
    """Workers on a Redis of their own, and what asks them.

    Arguments:
        app: of the workers.
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
        """An application with the blueprint, which knows all workers, and an empty view."""
        health = CeleryHealth(lambda: self._app, Settings(cache_seconds=cache_seconds))
        self._stack.callback(health.close)
        wait_until(lambda: len(health.check().active_workers) == len(self._workers), "all workers are known", 60)
        flask = Flask("site")
        flask.register_blueprint(create_blueprint(health), url_prefix="/api/celery")
        flask.add_url_rule("/empty", view_func=lambda: "")
        return flask

    def first(self) -> None:
        """A check by an object that has asked nobody before."""
        health = CeleryHealth(lambda: self._app, Settings(cache_seconds=0))
        health.check()
        health.close()

    def in_process(self, plain: Stage) -> dict[str, Callable[[], Any]]:
        """Ours, with a task of this package in the workers and (``plain``) without, and Celery's own calls."""
        inspect = self._app.control.inspect()
        return {
            COLD: getter(self.site(0), HEALTH),
            PLAIN: getter(plain.site(0), HEALTH),
            FIRST: self.first,
            "inspect: ping": inspect.ping,
            THREE: lambda: (inspect.ping(), inspect.active(), inspect.scheduled()),
        }

    def over_http(self) -> dict[str, Callable[[], Any]]:
        """Ours under gunicorn, and the peers that are installed."""
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
        """What an exec probe of Kubernetes or docker runs."""
        celery = [sys.executable, "-m", "celery", "-A", "tests.support.apps.jobs:app"]
        flask = [sys.executable, "-m", "flask", "--app", "tests.support.web"]
        return {
            COMMAND: [*celery, "health"],
            "flask --app web celery-health": [*flask, "celery-health"],
            "celery -A app inspect ping": [*celery, "inspect", "ping"],
            "celery -A app inspect ping -d NODE": [*celery, "inspect", "ping", "-d", f"{self._workers[0]}@testhost"],
        }


class Commands:
    """Runs commands one after the other, and notes their CPU time."""

    def __init__(self, broker_url: str) -> None:
        self._environ = celery_environ(broker_url)
        self.cpu: dict[str, list[float]] = {}

    def run(self, name: str, command: list[str]) -> None:
        """Run one to its end; what it says is dropped.

        Raises:
            CalledProcessError: it failed.
        """
        before = _cpu_ms()
        run(command, env=self._environ, cwd=ROOT, stdin=DEVNULL, capture_output=True, check=True)  # noqa: S603
        self.cpu.setdefault(name, []).append(_cpu_ms() - before)


def _cpu_ms() -> float:
    """User and system time of all child processes that have ended."""
    usage = getrusage(RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) * 1000


def measure(quick: bool) -> list[Table]:
    """Asking in process, over HTTP and by command; and being asked again within ``cache_seconds``."""
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
    """Ours beside Celery's own calls."""
    goal = at_least("health/, cold: times faster than " + THREE, 200, figures[THREE].median / figures[COLD].median)
    return compared(f"Health in process, workers: {workers}", figures, COLD, notes=IN_PROCESS_NOTES, goals=[goal])


def warm_table(site: Flask, rounds: int) -> Table:
    """A cached answer beside a view that does nothing."""
    figures = interleaved({WARM: getter(site, HEALTH), EMPTY: getter(site, "/empty")}, rounds)
    goal = at_least(
        "health/, warm: part of the rate of an empty view", 0.7, figures[EMPTY].median / figures[WARM].median
    )
    return compared("Health within cache_seconds", figures, WARM, notes=WARM_NOTES, goals=[goal])


def command_table(stage: Stage, rounds: int) -> Table:
    """Wall and CPU time of exec probes."""
    commands = Commands(stage.url)
    subjects = {name: lambda n=name, c=command: commands.run(n, c) for name, command in stage.commands().items()}
    wall = interleaved(subjects, rounds)
    rows = [(name, wall[name], figure(commands.cpu[name])) for name in subjects]
    heads = ("", "wall ms: median (quartiles)", "CPU ms: median (quartiles)")
    return Table("Health by command, as an exec probe", heads, rows, COMMAND_NOTES)


if __name__ == "__main__":
    main(measure, __doc__)
