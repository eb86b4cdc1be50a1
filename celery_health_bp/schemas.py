"""The JSON bodies: every field with its description."""

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
    """A schema that leaves out optional keys whose value is ``None``."""

    optional: frozenset[str] = frozenset()

    @post_dump
    def _omit(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {key: value for key, value in data.items() if value is not None or key not in self.optional}


class _WorkersSchema(_OmitNone):
    """The workers: with ``worker_count`` if enough workers reply, else with ``error``."""

    optional = frozenset({"worker_count", "error"})

    healthy = fields.Boolean(**_described("At least min_workers workers reply."))
    active_workers = fields.List(fields.String(), **_described("Node names of the workers that reply."))
    worker_count = fields.Integer(**_described("Number of active workers; missing if healthy is false."))
    error = fields.String(**_described("Why healthy is false; missing if it is true."))


class _WorkerDetailsSchema(Schema):
    """One worker in ``details``; values that its replies do not contain are null."""

    name = fields.String(**_described("Node name."))
    pool = fields.String(**_described("Pool: prefork, threads, solo, gevent or eventlet."))
    concurrency = fields.Integer(**_described("Size of the pool."))
    processes = fields.List(fields.Integer(), **_described("Process ids of the pool."))
    queues = fields.List(fields.String(), **_described("Queues consumed."))
    active = fields.Integer(**_described("Running attempts."))
    reserved = fields.Integer(**_described("Prefetched messages that wait in the worker."))
    uptime_seconds = fields.Float(**_described("Seconds since the worker started."))
    tasks_registered = fields.Integer(**_described("Number of registered tasks, without Celery's own."))
    tasks_counted = fields.Integer(**_described("Number of registered tasks whose attempts are counted."))
    tasks_not_counted = fields.List(fields.String(), **_described("Names of tasks that are not counted, at most five."))


class _OtherApplicationSchema(Schema):
    """A worker of another application on the same broker."""

    name = fields.String(**_described("Node name."))
    application = fields.String(**_described("Name of its Celery app."))


class _DetailsSchema(Schema):
    """The key ``details`` of ``health/``, present with ``?verbose=1``."""

    workers = fields.List(fields.Nested(_WorkerDetailsSchema), **_described("One entry per worker that replied."))
    age_seconds = fields.Float(**_described("Seconds since the check."))
    duration_seconds = fields.Float(**_described("Duration of the check in seconds."))
    other_applications = fields.List(
        fields.Nested(_OtherApplicationSchema), **_described("Workers of other applications, not counted.")
    )
    not_known = fields.List(fields.String(), **_described("Notes on what is not known or not counted."))


class _HealthSchema(_OmitNone):
    """Body of ``GET health/``."""

    optional = frozenset({"details"})

    status = fields.String(validate=validate.OneOf(STATUSES), **_described("Status of Celery."))
    workers = fields.Nested(_WorkersSchema, **_described("Workers that reply."))
    queues = fields.Dict(
        keys=fields.String(), values=fields.Integer(), **_described("Messages waiting per queue; -1: not known.")
    )
    recommendations = fields.List(fields.String(), **_described("Actions for the person on call."))
    details = fields.Nested(_DetailsSchema, **_described("Present with verbose=1."))


class _RunningTaskSchema(Schema):
    """A running attempt."""

    worker = fields.String(**_described("Node name."))
    task_name = fields.String(**_described("Registered name of the task."))
    task_id = fields.String(**_described("Id of the task."))
    time_start = fields.Float(allow_none=True, **_described("Start time in seconds since the epoch."))


class _ScheduledTaskSchema(Schema):
    """A message that waits in a worker for its ETA."""

    worker = fields.String(**_described("Node name."))
    task_name = fields.String(**_described("Registered name of the task."))
    task_id = fields.String(**_described("Id of the task."))
    eta = fields.String(allow_none=True, **_described("ETA in ISO 8601."))


class _TasksSchema(Schema):
    """Body of ``GET tasks/``; it never contains task arguments."""

    running = fields.List(fields.Nested(_RunningTaskSchema), **_described("Running attempts."))
    scheduled = fields.List(fields.Nested(_ScheduledTaskSchema), **_described("Messages that wait for their ETA."))
    running_count = fields.Integer(**_described("Number of running attempts, regardless of the limit."))


class _TaskStatsSchema(Schema):
    """Current numbers of one task."""

    running = fields.Integer(**_described("Number of running attempts."))
    scheduled = fields.Integer(**_described("Number of messages that wait for their ETA."))


class _StatsSchema(Schema):
    """Body of ``GET stats/``."""

    total_running = fields.Integer(**_described("Number of running attempts."))
    total_scheduled = fields.Integer(**_described("Number of messages that wait for their ETA."))
    by_task_name = fields.Dict(
        keys=fields.String(), values=fields.Nested(_TaskStatsSchema), **_described("The same per registered name.")
    )
    queues = fields.Dict(
        keys=fields.String(), values=fields.Integer(), **_described("Messages waiting per queue; -1: not known.")
    )


class _ErrorSchema(Schema):
    """The key ``error`` of an error body."""

    code = fields.String(**_described("Stable code for machines."))
    message = fields.String(**_described("Message for people."))


class _ErrorBodySchema(Schema):
    """Body of every error response. An unhealthy ``health/`` (503) keeps its own body."""

    error = fields.Nested(_ErrorSchema, **_described("The error."))


def health_body(report: HealthReport, *, verbose: bool = False) -> dict[str, Any]:
    """Return the body of ``health/``.

    Arguments:
        report: the report to show.
        verbose: add ``details``.
    """
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
    """Return the body of ``tasks/``.

    Arguments:
        running: running attempts.
        scheduled: messages that wait for their ETA.
        limit: maximum length of each list.
    """
    return _dump(
        _TasksSchema,
        {"running": running[:limit], "scheduled": scheduled[:limit], "running_count": len(running)},
    )


def stats_body(observation: Observation) -> dict[str, Any]:
    """Return the body of ``stats/`` for an observation."""
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
    """Return an error body with a stable code and a message for people."""
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
    """Cached: creating a schema costs more than dumping one."""
    return schema()
