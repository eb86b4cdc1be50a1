"""What a worker's replies to Celery's control commands say of it, as attributes of a ``Worker``.

Each reply is read as it arrives: of a thousand workers' replies nothing else
is kept. They come over the network from any version of Celery: what is not as
expected becomes ``None``, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .ledger import STATS_KEY
from .report import MAX_NAME, MAX_NAMES, RunningTask, ScheduledTask, Sending, StoreFacts, TaskFacts, Worker

#: Characters of a text in a reply that are kept.
MAX_TEXT = 256
#: Notes of a worker on its store that are kept.
MAX_NOTES = 3
#: Seconds since the epoch: the year 5138.
MAX_TIME = 1e11
CLASS_NAME = re.compile(r"\w{1,64}", re.ASCII)
#: No worker has more tasks.
MAX_TASKS = 1_000_000


def facts_of(node: str, command: str, reply: Any) -> dict[str, Any]:
    """What one reply says: attributes of ``Worker``; ``{command: reply}`` for any other command.

    A worker with this package answers the other commands within its reply to ``stats``.
    """
    if command == "stats":
        return _stats(node, _mapping(reply))
    if command in _READERS:
        attribute, read = _READERS[command]
        return {attribute: read(node, reply)}
    return {command: reply}


def worker_of(name: str, facts: Mapping[str, Any]) -> Worker | None:
    """The worker that said all this (see ``facts_of``).

    ``None`` for a node that answered neither ``stats`` nor ``active_queues``:
    workers alone do (beat answers a ping).
    """
    return Worker(name, **facts) if "pool" in facts or "queues" in facts else None


def _stats(node: str, stats: Mapping[str, Any]) -> dict[str, Any]:
    pool, ours = _mapping(stats.get("pool")), _mapping(stats.get(STATS_KEY))
    inspection = _mapping(ours.get("inspection"))
    facts: dict[str, Any] = {
        "pool": _pool_name(pool.get("implementation")),
        "concurrency": _number(pool.get("max-concurrency")),
        "processes": tuple([pid for pid in _list(pool.get("processes")) if isinstance(pid, int)]),
        "uptime_seconds": _number(stats.get("uptime")),
        "monitored": STATS_KEY in stats,
        "inspected": bool(inspection),
        "application": _name(ours.get("application")),
        "store": _store(ours.get("store")),
        "sending": _sending(_mapping(ours.get("store"))),
        "tasks": _tasks(ours.get("tasks")),
    }
    for command, (attribute, read) in _READERS.items():
        if command in inspection:
            facts[attribute] = read(node, inspection[command])
    return facts


def _name(value: Any) -> str | None:
    return value[:MAX_TEXT] if isinstance(value, str) else None


def _store(store: Any) -> StoreFacts | None:
    """``None`` for workers of version 0.1, which say its kind alone, and for nonsense."""
    if not isinstance(store, dict):
        return None
    kind, place, keys = (store.get(key) for key in ("kind", "place", "keys"))
    if isinstance(kind, str) and isinstance(place, str) and isinstance(keys, str):
        identity = store.get("id")
        known = identity[:MAX_TEXT] if isinstance(identity, str) else None
        return StoreFacts(kind[:MAX_TEXT], place[:MAX_TEXT], keys[:MAX_TEXT], known)
    return None


def _sending(store: Mapping[str, Any]) -> Sending | None:
    if store.get("kind") != "redis":
        return None
    since: Any = store.get("failing_since")
    error, unsent = store.get("error"), store.get("unsent")
    return Sending(
        failing_since=since if type(since) in (int, float) and 0 < since < MAX_TIME else None,
        error=error if isinstance(error, str) and CLASS_NAME.fullmatch(error) else "",
        unsent=unsent if type(unsent) is int else 0,
        notes=tuple([note[:MAX_TEXT] for note in _list(store.get("notes")) if isinstance(note, str)][:MAX_NOTES]),
    )


def _tasks(tasks: Any) -> TaskFacts | None:
    """``None`` for workers of version 0.1, which do not say it, and for nonsense."""
    if not isinstance(tasks, dict):
        return None
    registered, counted = tasks.get("registered"), tasks.get("counted")
    if type(registered) is not int or type(counted) is not int or not 0 <= counted <= registered <= MAX_TASKS:
        return None
    names = [name for name in _list(tasks.get("not_counted"))[:MAX_NAMES] if isinstance(name, str)]
    return TaskFacts(registered, counted, tuple([name[:MAX_NAME] for name in names]))


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


def _queue_names(_: str, reply: Any) -> tuple[str, ...] | None:
    if not isinstance(reply, list):
        return None
    return tuple(sorted([str(queue["name"]) for queue in reply if isinstance(queue, dict) and "name" in queue]))


def _reserved(_: str, reply: Any) -> int | None:
    return len(reply) if isinstance(reply, list) else _number(reply)


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


#: Command -> the attribute that its reply tells, and who reads it.
_READERS: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "active_queues": ("queues", _queue_names),
    "active": ("running", _running),
    "scheduled": ("scheduled", _scheduled),
    "reserved": ("reserved", _reserved),
}
