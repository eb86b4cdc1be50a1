"""The rules that turn an observation into a report. No I/O."""

from __future__ import annotations

import shlex
from typing import Any

from .notes import name_list
from .report import DEGRADED, HEALTHY, UNHEALTHY, HealthReport, Observation
from .settings import Settings

NO_WORKERS = "No active Celery workers found"

#: Recommendations; those on the broker are in ``asking.broker.REASONS``.
ADVICE = {
    "start": "Start Celery workers: celery -A {app} worker --loglevel=info",
    "consume": "Restart them, or add their queue again: celery -A {app} control add_consumer QUEUE",
    "silent": "Not answering any more: {nodes}. A busy solo pool answers again after its job; "
    "else the worker was stopped, is frozen, or lost the broker: look at its log",
    "others": "Workers of another application answer, and do not count: {nodes}. If they are yours, give both Celery "
    "apps one name; if not, set control_exchange in one of the two applications, or give it a database of its own",
    "long": "Queue {queue} holds {length} messages (threshold {threshold}, consumers: {consumers}): "
    "add workers, or look at stats/ for slow tasks",
    "unconsumed": "Queue {queue} holds {length} messages and no worker consumes it: celery -A {app} worker -Q {quoted}",
}

#: Placeholder after ``celery -A`` if the app has no usable name, with a hint on how to set one.
UNKNOWN_APP = "APP"
UNKNOWN_APP_HINT = "(APP: the setting celery_app_argument can say)"
#: Names of apps that their author did not choose.
DEFAULT_NAMES = (None, "", "default", "__main__")


def app_argument(main: str | None, settings: Settings) -> str:
    """Return the argument of ``celery -A`` for a recommendation, quoted for a shell.

    Arguments:
        main: name of the Celery app.
        settings: ``celery_app_argument`` takes precedence over the name.
    """
    known = settings.celery_app_argument or (None if main in DEFAULT_NAMES else main)
    return UNKNOWN_APP if known is None else shlex.quote(known)


def judge(observation: Observation, settings: Settings, app: str) -> HealthReport:
    """Return the report on an observation.

    Arguments:
        observation: replies of the workers and the broker.
        settings: supplies ``min_workers`` and ``queue_length_threshold``.
        app: argument of ``celery -A`` in recommendations, from ``app_argument``.
    """
    active = tuple(sorted(worker.name for worker in observation.workers if worker.active))
    error, advice = _worker_problem(observation, active, settings, app)
    if observation.silent:
        advice = (*advice, ADVICE["silent"].format(nodes=", ".join(observation.silent)))
    if error and observation.others:
        nodes = name_list([f"{worker.name} ({worker.application})" for worker in observation.others])
        advice = (*advice, ADVICE["others"].format(nodes=nodes))
    queue_advice = _queue_problems(observation, settings, app, no_workers=bool(error) and not active)
    status = UNHEALTHY if error else DEGRADED if queue_advice else HEALTHY
    return HealthReport(
        status=status,
        active_workers=active,
        queues={name: queue.length for name, queue in sorted(observation.queues.items())},
        recommendations=(*advice, *queue_advice),
        error=error,
        observation=observation,
    )


def _worker_problem(
    observation: Observation, active: tuple[str, ...], settings: Settings, app: str
) -> tuple[str | None, tuple[str, ...]]:
    """Return the reason for ``unhealthy``, if any, and advice."""
    start = _advice("start", app)
    if observation.problem is not None:
        return str(observation.problem), (observation.problem.recommendation,)
    if len(active) >= settings.min_workers:
        return None, ()
    if active:
        return f"Only {len(active)} of at least {settings.min_workers} workers answer", (start,)
    if observation.workers:
        names = ", ".join(worker.name for worker in observation.workers)
        return f"No worker consumes a queue; answering without one: {names}", (_advice("consume", app),)
    return NO_WORKERS, (start,)


def _queue_problems(observation: Observation, settings: Settings, app: str, *, no_workers: bool) -> tuple[str, ...]:
    """Return advice on each queue that makes the status ``degraded``.

    Arguments:
        no_workers: skip advice on queues without a consumer, as the missing workers are reported already.
    """
    advice = []
    threshold = settings.queue_length_threshold
    for name, queue in sorted(observation.queues.items()):
        facts = {
            "queue": name,
            "quoted": shlex.quote(name),
            "length": queue.length,
            "threshold": threshold,
            "consumers": "unknown" if queue.consumers is None else queue.consumers,
        }
        if queue.length > threshold:
            advice.append(_advice("long", app, **facts))
        if queue.length > 0 and queue.consumers == 0 and not no_workers:
            advice.append(_advice("unconsumed", app, **facts))
    return tuple(advice)


def _advice(key: str, app: str, **facts: Any) -> str:
    text = ADVICE[key].format(app=app, **facts)
    return f"{text} {UNKNOWN_APP_HINT}" if app == UNKNOWN_APP and "{app}" in ADVICE[key] else text
