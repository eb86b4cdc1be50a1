"""What was observed, and the rules that turn it into a verdict. Pure, no I/O."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import CheckError
from .settings import Settings

HEALTHY, DEGRADED, UNHEALTHY = "healthy", "degraded", "unhealthy"
STATUSES = (HEALTHY, DEGRADED, UNHEALTHY)

NO_WORKERS = "No active Celery workers found"

#: What a person on call can do, by what was found; for the broker see ``broker.REASONS``.
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

#: Stands after ``celery -A`` where nobody knows what belongs there, and how to say it.
UNKNOWN_APP = "APP"
UNKNOWN_APP_HINT = "(APP: the setting celery_app_argument can say)"
#: Names of apps that Celery or Python made up.
NO_NAMES = (None, "", "default", "__main__")


#: How many names a sentence has, and characters of a task's name.
MAX_NAMES, MAX_NAME = 5, 100


def some(names: Sequence[str], number: int | None = None) -> str:
    """Return the first five names, and how many more there are.

    Arguments:
        number: how many there are, if ``names`` has not all of them.
    """
    rest = (len(names) if number is None else number) - len(names[:MAX_NAMES])
    return ", ".join(names[:MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")


@dataclass(frozen=True)
class RunningTask:
    """An attempt in a pool process; ``time_start`` is in seconds since the epoch."""

    worker: str
    task_name: str
    task_id: str
    time_start: float | None


@dataclass(frozen=True)
class ScheduledTask:
    """A message that waits in a worker for its ETA (ISO 8601)."""

    worker: str
    task_name: str
    task_id: str
    eta: str | None


@dataclass(frozen=True)
class StoreFacts:
    """Where a process sends its job totals.

    Attributes:
        kind: ``redis``, or ``control`` for its own memory.
        place: URL without credentials; empty for ``control``.
        keys: what every key begins with; empty for ``control``.
        identity: random id that the store itself holds; ``None``: not known.
    """

    kind: str
    place: str = ""
    keys: str = ""
    identity: str | None = None


@dataclass(frozen=True)
class Sending:
    """How the job totals of a process get to its store.

    Attributes:
        failing_since: seconds since the epoch; ``None``: the store accepted what was sent last.
        error: class of the error, such as ``NoPermissionError``.
        unsent: events that wait.
        notes: sentences on what endangers the totals.
    """

    failing_since: float | None = None
    error: str = ""
    unsent: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskFacts:
    """How many tasks a worker has registered (Celery's own left out) and counts; ``not_counted`` has some names."""

    registered: int
    counted: int
    not_counted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Worker:
    """One node that answered; ``None`` is what its answer did not say.

    Attributes:
        queues: names of the queues it consumes; ``None``: it did not say.
        uptime_seconds: since its main process started.
        processes: process ids of its pool.
        monitored: it runs this package, and can be asked for its job counts.
        inspected: its reply to ``stats`` said everything.
        store: where its job totals go.
        sending: whether they arrive there; ``None`` without a store outside of the worker.
        tasks: how many of its tasks are counted.
        application: name of its Celery app.
    """

    name: str
    pool: str | None = None
    concurrency: int | None = None
    processes: tuple[int, ...] = ()
    queues: tuple[str, ...] | None = None
    uptime_seconds: float | None = None
    running: tuple[RunningTask, ...] | None = None
    scheduled: tuple[ScheduledTask, ...] | None = None
    reserved: int | None = None
    monitored: bool | None = None
    inspected: bool = False
    store: StoreFacts | None = None
    sending: Sending | None = None
    tasks: TaskFacts | None = None
    application: str | None = None

    @property
    def failing(self) -> bool:
        """Its job totals do not get to their store."""
        return self.sending is not None and self.sending.failing_since is not None

    @property
    def active(self) -> bool:
        """It takes jobs: a node that answers and consumes no queue does not."""
        return self.queues is None or bool(self.queues)

    @property
    def tasks_counted(self) -> int | None:
        """How many of its tasks are counted: none, if it runs without this package."""
        if self.tasks is not None:
            return self.tasks.counted
        return 0 if self.monitored is False else None


@dataclass(frozen=True)
class Queue:
    """``length`` in messages, -1 if unknown; ``consumers`` in workers, ``None`` if unknown."""

    length: int
    consumers: int | None


@dataclass(frozen=True)
class Observation:
    """One check: all that the workers and the broker said before the deadline.

    Attributes:
        taken_at: seconds since the epoch.
        duration_seconds: how long the check took.
        problem: why the workers could not be asked, if they could not.
        silent: names of nodes that answered lately and did not now.
        not_known: sentences on what could not be found out, and why, and on what
            is not counted, or is counted elsewhere.
        strays: names of workers whose job totals go to another store than this process reads.
        others: workers of other applications, which answered too.
        unread: names of workers with a reply that was too long to be read.
    """

    taken_at: float
    duration_seconds: float
    workers: tuple[Worker, ...] = ()
    queues: Mapping[str, Queue] = field(default_factory=dict)
    problem: CheckError | None = None
    silent: tuple[str, ...] = ()
    not_known: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    others: tuple[Worker, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def running(self) -> list[RunningTask]:
        """Running attempts of all workers."""
        return [task for worker in self.workers for task in worker.running or ()]

    @property
    def scheduled(self) -> list[ScheduledTask]:
        """Scheduled messages of all workers."""
        return [task for worker in self.workers for task in worker.scheduled or ()]


@dataclass(frozen=True)
class HealthReport:
    """The verdict: ``status`` is healthy, degraded or unhealthy; ``error`` says why it is unhealthy."""

    status: str
    active_workers: tuple[str, ...]
    queues: Mapping[str, int]
    recommendations: tuple[str, ...]
    error: str | None
    observation: Observation

    @property
    def healthy_workers(self) -> bool:
        """Enough workers answer."""
        return self.error is None


def app_argument(main: str | None, settings: Settings) -> str:
    """What stands after ``celery -A``, as a shell takes it: the setting, or the name of the app."""
    known = settings.celery_app_argument or (None if main in NO_NAMES else main)
    return UNKNOWN_APP if known is None else shlex.quote(known)


def _advice(key: str, app: str, **facts: Any) -> str:
    text = ADVICE[key].format(app=app, **facts)
    return f"{text} {UNKNOWN_APP_HINT}" if app == UNKNOWN_APP and "{app}" in ADVICE[key] else text


def judge(observation: Observation, settings: Settings, app: str) -> HealthReport:
    """The verdict on an observation.

    Arguments:
        app: what stands after ``celery -A`` in a recommendation, see ``app_argument``.
    """
    active = tuple(sorted(worker.name for worker in observation.workers if worker.active))
    error, advice = _worker_problem(observation, active, settings, app)
    if observation.silent:
        advice = (*advice, ADVICE["silent"].format(nodes=", ".join(observation.silent)))
    if error and observation.others:
        nodes = some([f"{worker.name} ({worker.application})" for worker in observation.others])
        advice = (*advice, ADVICE["others"].format(nodes=nodes))
    queue_advice = _queue_problems(observation, settings, app, nobody=bool(error) and not active)
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


def _queue_problems(observation: Observation, settings: Settings, app: str, *, nobody: bool) -> tuple[str, ...]:
    """Advice on each queue; that there is no worker at all (``nobody``) is said once, elsewhere."""
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
        if queue.length > 0 and queue.consumers == 0 and not nobody:
            advice.append(_advice("unconsumed", app, **facts))
    return tuple(advice)
