"""From the replies of one worker, as Celery's control commands send them, to a ``Worker``.

Replies come over the network from any version of Celery: what is not as
expected becomes ``None``, never an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .ledger import STATS_KEY
from .report import RunningTask, ScheduledTask, Worker


def worker_of(name: str, replies: Mapping[str, Any]) -> Worker | None:
    """The worker that gave these replies (command -> reply).

    ``None`` for a node that answered neither ``stats`` nor ``active_queues``:
    workers alone do (beat answers a ping).
    """
    if "stats" not in replies and "active_queues" not in replies:
        return None
    stats = _mapping(replies.get("stats"))
    pool = _mapping(stats.get("pool"))
    reserved = replies.get("reserved")
    return Worker(
        name=name,
        pool=_pool_name(pool.get("implementation")),
        concurrency=_number(pool.get("max-concurrency")),
        processes=tuple(pid for pid in _list(pool.get("processes")) if isinstance(pid, int)),
        queues=queue_names(replies.get("active_queues")),
        uptime_seconds=_number(stats.get("uptime")),
        running=_running(name, replies.get("active")),
        scheduled=_scheduled(name, replies.get("scheduled")),
        reserved=len(reserved) if isinstance(reserved, list) else _number(reserved),
        monitored=STATS_KEY in stats,
    )


def inspection_of(replies: Mapping[str, Any]) -> Mapping[str, Any]:
    """The replies to other commands that a worker with this package gives within that to ``stats``."""
    return _mapping(_mapping(_mapping(replies.get("stats")).get(STATS_KEY)).get("inspection"))


def _running(worker: str, reply: Any) -> tuple[RunningTask, ...] | None:
    if not isinstance(reply, list):
        return None
    requests = [_mapping(item) for item in reply]
    return tuple(
        RunningTask(worker, _task_name(request), str(request.get("id")), _number(request.get("time_start")))
        for request in requests
    )


def _scheduled(worker: str, reply: Any) -> tuple[ScheduledTask, ...] | None:
    if not isinstance(reply, list):
        return None
    entries = [(_mapping(item), _mapping(_mapping(item).get("request"))) for item in reply]
    return tuple(
        ScheduledTask(worker, _task_name(request), str(request.get("id")), _text(entry.get("eta")))
        for entry, request in entries
    )


def _task_name(request: Mapping[str, Any]) -> str:
    """The registered name; ``name`` may be a ``shadow`` that the caller gave."""
    return str(request.get("type") or request.get("name"))


def queue_names(reply: Any) -> tuple[str, ...] | None:
    """Names in a reply to ``active_queues``; ``None``: it is none."""
    if not isinstance(reply, list):
        return None
    return tuple(sorted([str(queue["name"]) for queue in reply if isinstance(queue, dict) and "name" in queue]))


def _pool_name(implementation: Any) -> str | None:
    """``prefork`` of ``celery.concurrency.prefork:TaskPool``."""
    return str(implementation).partition(":")[0].rpartition(".")[2] if implementation else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}  # a thousand nodes: Mapping would take four times as long


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return str(value) if value is not None else None
