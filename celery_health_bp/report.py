"""The results of a check: workers, queues, tasks and the report on them. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import CheckError

HEALTHY, DEGRADED, UNHEALTHY = "healthy", "degraded", "unhealthy"
STATUSES = (HEALTHY, DEGRADED, UNHEALTHY)


@dataclass(frozen=True)
class RunningTask:
    """An attempt that a worker runs.

    Attributes:
        worker: name of the node.
        task_name: registered name of the task.
        task_id: id of the task.
        time_start: start in seconds since the epoch; ``None`` if unknown.
    """

    worker: str
    task_name: str
    task_id: str
    time_start: float | None


@dataclass(frozen=True)
class ScheduledTask:
    """A message that waits in a worker for its ETA.

    Attributes:
        worker: name of the node.
        task_name: registered name of the task.
        task_id: id of the task.
        eta: ISO 8601; ``None`` if unknown.
    """

    worker: str
    task_name: str
    task_id: str
    eta: str | None


@dataclass(frozen=True)
class StoreFacts:
    """The store to which a process sends its job totals.

    Attributes:
        kind: ``redis``, or ``control`` for the memory of the process.
        place: URL without credentials; empty for ``control``.
        keys: prefix of every key; empty for ``control``.
        identity: random id that the store itself holds; ``None`` if unknown.
    """

    kind: str
    place: str = ""
    keys: str = ""
    identity: str | None = None


@dataclass(frozen=True)
class Sending:
    """Whether the job totals of a process arrive in its store.

    Attributes:
        failing_since: seconds since the epoch; ``None`` if the store accepted the last batch.
        error: class name of the error, such as ``NoPermissionError``.
        unsent: number of events that wait.
        notes: sentences on dangers for the totals.
    """

    failing_since: float | None = None
    error: str = ""
    unsent: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskFacts:
    """Which tasks of a worker are counted, without Celery's built-in tasks.

    Attributes:
        registered: number of registered tasks.
        counted: number of tasks whose attempts are counted.
        not_counted: names of some of the other tasks.
    """

    registered: int
    counted: int
    not_counted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Worker:
    """A node that replied. A field is ``None`` if the reply does not contain it.

    Attributes:
        name: name of the node, such as ``worker1@hostname``.
        pool: name of the pool, such as ``prefork``.
        concurrency: maximum number of concurrent attempts.
        processes: process ids of the pool.
        queues: names of the queues that it consumes.
        uptime_seconds: time since the start of its main process.
        running: attempts that it runs.
        scheduled: messages that it holds until their ETA.
        reserved: number of prefetched messages that do not run yet.
        monitored: whether it runs this package, and can reply with its job counts.
        inspected: whether its reply to ``stats`` includes its queues and attempts.
        store: where it sends its job totals.
        sending: whether the job totals arrive there; ``None`` if they stay in the worker.
        tasks: which of its tasks are counted.
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
        """Whether its job totals do not arrive in their store."""
        return self.sending is not None and self.sending.failing_since is not None

    @property
    def active(self) -> bool:
        """Whether it can take jobs: a node that consumes no queue cannot."""
        return self.queues is None or bool(self.queues)

    @property
    def tasks_counted(self) -> int | None:
        """Number of its tasks that are counted; 0 without this package, ``None`` if unknown."""
        if self.tasks is not None:
            return self.tasks.counted
        return 0 if self.monitored is False else None


@dataclass(frozen=True)
class Queue:
    """A queue of the broker.

    Attributes:
        length: number of waiting messages; -1 if unknown.
        consumers: number of workers that consume it; ``None`` if unknown.
    """

    length: int
    consumers: int | None


@dataclass(frozen=True)
class Observation:
    """All replies of the workers and the broker to one check.

    Attributes:
        taken_at: seconds since the epoch.
        duration_seconds: duration of the check.
        workers: the workers that replied.
        queues: name -> queue.
        problem: why the workers could not be asked; ``None`` if they were.
        silent: names of workers that replied lately but not to this check.
        not_known: sentences on missing information and its reason, and on
            tasks and totals that are not counted here.
        strays: names of workers whose job totals go to another store than this process reads.
        others: workers of other applications that replied too.
        unread: names of workers with a reply beyond the size limit.
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
    """An observation with its verdict.

    Attributes:
        status: ``healthy``, ``degraded`` or ``unhealthy``.
        active_workers: sorted names of the workers that can take jobs.
        queues: name -> number of waiting messages; -1 if unknown.
        recommendations: advice for the person on call.
        error: why the status is ``unhealthy``; ``None`` if it is not.
        observation: the replies on which the verdict rests.
    """

    status: str
    active_workers: tuple[str, ...]
    queues: Mapping[str, int]
    recommendations: tuple[str, ...]
    error: str | None
    observation: Observation

    @property
    def healthy_workers(self) -> bool:
        """Whether enough workers reply."""
        return self.error is None
