"""Every field of every body, each with its description."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from marshmallow import Schema, fields, post_dump, validate

from .report import STATUSES, HealthReport, Observation, RunningTask, ScheduledTask


def _described(description: str) -> dict[str, Any]:
    return {"metadata": {"description": description}}


class _OmitNone(Schema):
    """A schema whose optional keys are left out where there is nothing to say."""

    optional: frozenset[str] = frozenset()

    @post_dump
    def _omit(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {key: value for key, value in data.items() if value is not None or key not in self.optional}


class _WorkersSchema(_OmitNone):
    """Who answers: ``worker_count`` when there are enough, ``error`` when not."""

    optional = frozenset({"worker_count", "error"})

    healthy = fields.Boolean(**_described("At least min_workers workers answer."))
    active_workers = fields.List(fields.String(), **_described("Node names of the workers that answer."))
    worker_count = fields.Integer(**_described("Number of active workers, when there are enough."))
    error = fields.String(**_described("Why the workers are not healthy."))


class _WorkerDetailsSchema(Schema):
    """One worker in ``details``; null is what its reply did not say."""

    name = fields.String(**_described("Node name."))
    pool = fields.String(**_described("Kind of pool: prefork, threads, solo, gevent."))
    concurrency = fields.Integer(**_described("Size of the pool."))
    processes = fields.List(fields.Integer(), **_described("Process ids of the pool."))
    queues = fields.List(fields.String(), **_described("Queues consumed."))
    active = fields.Integer(**_described("Attempts running."))
    reserved = fields.Integer(**_described("Messages prefetched and waiting."))
    uptime_seconds = fields.Float(**_described("Seconds since the worker started."))
    tasks_registered = fields.Integer(**_described("Tasks registered, without Celery's own."))
    tasks_counted = fields.Integer(**_described("Registered tasks whose attempts are counted."))
    tasks_not_counted = fields.List(fields.String(), **_described("Names of tasks that are not counted, at most five."))


class _OtherApplicationSchema(Schema):
    """A worker of another application on the same broker, which does not count."""

    name = fields.String(**_described("Node name."))
    application = fields.String(**_described("Name of its Celery app."))


class _DetailsSchema(Schema):
    """What ``?verbose=1`` adds to the body of ``health/``."""

    workers = fields.List(fields.Nested(_WorkerDetailsSchema), **_described("One entry per worker that answered."))
    age_seconds = fields.Float(**_described("Seconds since the workers were asked."))
    duration_seconds = fields.Float(**_described("Seconds that asking them took."))
    other_applications = fields.List(
        fields.Nested(_OtherApplicationSchema), **_described("Workers of other applications; they do not count.")
    )
    not_known = fields.List(fields.String(), **_described("What was not known, and why; which jobs are not counted."))


class _HealthSchema(_OmitNone):
    """Body of ``GET health/``."""

    optional = frozenset({"details"})

    status = fields.String(validate=validate.OneOf(STATUSES), **_described("The verdict."))
    workers = fields.Nested(_WorkersSchema, **_described("Who answers."))
    queues = fields.Dict(
        keys=fields.String(), values=fields.Integer(), **_described("Messages waiting per queue; -1: not known.")
    )
    recommendations = fields.List(fields.String(), **_described("What a person on call can do."))
    details = fields.Nested(_DetailsSchema, **_described("Only with verbose=1."))


class _RunningTaskSchema(Schema):
    """An attempt in a pool process."""

    worker = fields.String(**_described("Node name."))
    task_name = fields.String(**_described("Registered name of the task."))
    task_id = fields.String(**_described("Id of the task."))
    time_start = fields.Float(allow_none=True, **_described("Start in seconds since the epoch."))


class _ScheduledTaskSchema(Schema):
    """A message that waits in a worker for its ETA."""

    worker = fields.String(**_described("Node name."))
    task_name = fields.String(**_described("Registered name of the task."))
    task_id = fields.String(**_described("Id of the task."))
    eta = fields.String(allow_none=True, **_described("When it is due, ISO 8601."))


class _TasksSchema(Schema):
    """Body of ``GET tasks/``; task arguments never appear."""

    running = fields.List(fields.Nested(_RunningTaskSchema), **_described("Attempts in pool processes."))
    scheduled = fields.List(fields.Nested(_ScheduledTaskSchema), **_described("Messages waiting for their ETA."))
    running_count = fields.Integer(**_described("Running attempts, before the limit."))


class _TaskStatsSchema(Schema):
    """Counts of one task now."""

    running = fields.Integer(**_described("Attempts in pool processes."))
    scheduled = fields.Integer(**_described("Messages waiting for their ETA."))


class _StatsSchema(Schema):
    """Body of ``GET stats/``."""

    total_running = fields.Integer(**_described("Attempts in pool processes."))
    total_scheduled = fields.Integer(**_described("Messages waiting for their ETA."))
    by_task_name = fields.Dict(
        keys=fields.String(), values=fields.Nested(_TaskStatsSchema), **_described("The same per registered name.")
    )
    queues = fields.Dict(
        keys=fields.String(), values=fields.Integer(), **_described("Messages waiting per queue; -1: not known.")
    )


class _ErrorSchema(Schema):
    """The inside of an error body."""

    code = fields.String(**_described("Stable word for machines."))
    message = fields.String(**_described("Sentence for people."))


class _ErrorBodySchema(Schema):
    """Body of every answer from status 400 up."""

    error = fields.Nested(_ErrorSchema, **_described("What went wrong."))


def health_body(report: HealthReport, *, verbose: bool = False) -> dict[str, Any]:
    """The body of ``health/``."""
    healthy = report.healthy_workers
    return _dump(
        _HealthSchema,
        {
            "status": report.status,
            "workers": {
                "healthy": healthy,
                "active_workers": report.active_workers,
                "worker_count": len(report.active_workers) if healthy else None,
                "error": report.error,
            },
            "queues": report.queues,
            "recommendations": report.recommendations,
            "details": _details(report.observation) if verbose else None,
        },
    )


def tasks_body(running: Sequence[RunningTask], scheduled: Sequence[ScheduledTask], limit: int) -> dict[str, Any]:
    """The body of ``tasks/`` with at most ``limit`` entries in each list."""
    return _dump(
        _TasksSchema,
        {"running": running[:limit], "scheduled": scheduled[:limit], "running_count": len(running)},
    )


def stats_body(observation: Observation) -> dict[str, Any]:
    """The body of ``stats/``."""
    by_name: dict[str, dict[str, int]] = defaultdict(lambda: {"running": 0, "scheduled": 0})
    for kind, tasks in (("running", observation.running), ("scheduled", observation.scheduled)):
        for task in tasks:
            by_name[task.task_name][kind] += 1
    return _dump(
        _StatsSchema,
        {
            "total_running": len(observation.running),
            "total_scheduled": len(observation.scheduled),
            "by_task_name": by_name,
            "queues": {name: queue.length for name, queue in sorted(observation.queues.items())},
        },
    )


def error_body(code: str, message: str) -> dict[str, Any]:
    """The body of an error."""
    return _dump(_ErrorBodySchema, {"error": {"code": code, "message": message}})


def _details(observation: Observation) -> dict[str, Any]:
    return {
        "workers": [
            {
                "name": worker.name,
                "pool": worker.pool,
                "concurrency": worker.concurrency,
                "processes": worker.processes,
                "queues": worker.queues,
                "active": None if worker.running is None else len(worker.running),
                "reserved": worker.reserved,
                "uptime_seconds": worker.uptime_seconds,
                "tasks_registered": worker.tasks.registered if worker.tasks else None,
                "tasks_counted": worker.tasks_counted,
                "tasks_not_counted": worker.tasks.not_counted if worker.tasks else (),
            }
            for worker in observation.workers
        ],
        "age_seconds": max(0.0, time.time() - observation.taken_at),
        "duration_seconds": observation.duration_seconds,
        "other_applications": observation.others,
        "not_known": observation.not_known,
    }


def _dump(schema: type[Schema], data: dict[str, Any]) -> dict[str, Any]:
    dumped: dict[str, Any] = _instance(schema).dump(data)
    return dumped


@functools.cache
def _instance(schema: type[Schema]) -> Schema:
    """Made once: that costs more than an answer of it."""
    return schema()
