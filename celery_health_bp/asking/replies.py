"""Converts workers' replies to Celery's control commands to attributes of ``Worker``.

Each reply is converted when it arrives, and then discarded, to save memory with a thousand workers. Replies
come over the network, from any version of Celery or from an attacker. Unexpected values become ``None`` and
never raise. Texts are cut to one printable line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..counts import MAX_NUMBER
from ..notes import MAX_NAME, MAX_NAMES
from ..report import RunningTask, ScheduledTask, Sending, StoreFacts, TaskFacts, Worker
from ..wire import STATS_KEY

#: Maximum length of a text, in characters.
MAX_TEXT = 256
#: Maximum number of notes on the store per worker.
MAX_NOTES = 3
#: Latest accepted time, in seconds since the epoch: the year 5138.
MAX_TIME = 1e11
CLASS_NAME = re.compile(r"\w{1,64}", re.ASCII)
#: Largest accepted number of tasks per worker.
MAX_TASKS = 1_000_000
#: How much of a long reply is searched for the name of its node, in characters.
MAX_SENDER = 2000
SENDER = re.compile(r'\s*\{\s*("(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*")\s*:')
#: Maximum number of queues, and of pool processes, per worker.
MAX_ENTRIES = 10_000


def facts_of(node: str, command: str, reply: Any) -> dict[str, Any]:
    """Return the attributes of ``Worker`` that one reply contains.

    A worker that runs this package answers all commands in its reply to ``stats``.

    Arguments:
        node: node name.
        command: name of the control command.
        reply: decoded body of the reply.

    Returns:
        Attribute -> value; ``{command: reply}`` for a command that is not about the worker.
    """
    if command == "stats":
        return _stats(node, _mapping(reply))
    if command in _READERS:
        attribute, read = _READERS[command]
        return {attribute: read(node, reply)}
    return {command: reply}


def worker_of(name: str, facts: Mapping[str, Any]) -> Worker | None:
    """Return the worker with these facts (see ``facts_of``).

    Returns:
        ``None`` for a node that replied to neither ``stats`` nor ``active_queues``, which only workers do
        (beat replies to ``ping``).
    """
    return Worker(name, **facts) if "pool" in facts or "queues" in facts else None


def sender_of(body: bytes | str) -> str | None:
    """Return the node name from the beginning of a reply, without decoding the rest; ``None`` if it is not JSON."""
    beginning = body[:MAX_SENDER] if isinstance(body, str) else bytes(body[:MAX_SENDER]).decode("utf-8", "replace")
    found = SENDER.match(beginning)
    return one_line(json.loads(found[1])) if found else None


def _stats(node: str, stats: Mapping[str, Any]) -> dict[str, Any]:
    pool, ours = _mapping(stats.get("pool")), _mapping(stats.get(STATS_KEY))
    inspection = _mapping(ours.get("inspection"))
    facts: dict[str, Any] = {
        "pool": _pool_name(pool.get("implementation")),
        "concurrency": _number(pool.get("max-concurrency")),
        "processes": tuple(
            [pid for pid in _list(pool.get("processes"))[:MAX_ENTRIES] if type(pid) is int and 0 <= pid <= MAX_NUMBER]
        ),
        "uptime_seconds": _number(stats.get("uptime")),
        "monitored": STATS_KEY in stats if stats else None,  # None: no readable reply
        "inspected": bool(inspection),
        "application": one_line(ours.get("application")),
        "store": _store(ours.get("store")),
        "sending": _sending(_mapping(ours.get("store"))),
        "tasks": _tasks(ours.get("tasks")),
    }
    for command, (attribute, read) in _READERS.items():
        if command in inspection:
            facts[attribute] = read(node, inspection[command])
    return facts


def _store(store: Any) -> StoreFacts | None:
    """Return ``None`` for invalid values, and for workers of version 0.1, which send only the kind."""
    if not isinstance(store, dict):
        return None
    kind, place, keys = (one_line(store.get(key)) for key in ("kind", "place", "keys"))
    if kind is None or place is None or keys is None:
        return None
    return StoreFacts(kind, place, keys, one_line(store.get("id")))


def _sending(store: Mapping[str, Any]) -> Sending | None:
    if store.get("kind") != "redis":
        return None
    since: Any = store.get("failing_since")
    error, unsent = store.get("error"), store.get("unsent")
    notes = map(one_line, _list(store.get("notes"))[:MAX_NOTES])
    return Sending(
        failing_since=since if type(since) in (int, float) and 0 < since < MAX_TIME else None,
        error=error if isinstance(error, str) and CLASS_NAME.fullmatch(error) else "",
        unsent=unsent if type(unsent) is int and _number(unsent) else 0,
        notes=tuple([note for note in notes if note is not None]),
    )


def _tasks(tasks: Any) -> TaskFacts | None:
    """Return ``None`` for invalid values, and for workers of version 0.1, which do not send them."""
    if not isinstance(tasks, dict):
        return None
    registered, counted = tasks.get("registered"), tasks.get("counted")
    if type(registered) is not int or type(counted) is not int or not 0 <= counted <= registered <= MAX_TASKS:
        return None
    names = map(one_line, _list(tasks.get("not_counted"))[:MAX_NAMES])
    return TaskFacts(registered, counted, tuple([name[:MAX_NAME] for name in names if name is not None]))


def _running(worker: str, reply: Any) -> tuple[RunningTask, ...] | None:
    if not isinstance(reply, list):
        return None
    return tuple(
        [
            RunningTask(worker, *task, _number(request.get("time_start")))
            for request in map(_mapping, reply)
            if (task := _task(request))
        ]
    )


def _scheduled(worker: str, reply: Any) -> tuple[ScheduledTask, ...] | None:
    if not isinstance(reply, list):
        return None
    return tuple(
        [
            ScheduledTask(worker, *task, one_line(entry.get("eta")))
            for entry in map(_mapping, reply)
            if (task := _task(_mapping(entry.get("request"))))
        ]
    )


def _task(request: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the registered name and the id (``name`` may be the caller's ``shadow`` name); ``None`` without them."""
    name, task_id = one_line(request.get("type") or request.get("name")), one_line(request.get("id"))
    return (name, task_id) if name is not None and task_id is not None else None


def _queue_names(_: str, reply: Any) -> tuple[str, ...] | None:
    if not isinstance(reply, list):
        return None
    names = [one_line(queue.get("name")) for queue in map(_mapping, reply[:MAX_ENTRIES])]
    return tuple(sorted([name for name in names if name is not None]))


def _reserved(_: str, reply: Any) -> int | None:
    return len(reply) if isinstance(reply, list) else _number(reply)


def _pool_name(implementation: Any) -> str | None:
    """Return ``prefork`` for ``celery.concurrency.prefork:TaskPool``."""
    path = one_line(implementation)
    return path.partition(":")[0].rpartition(".")[2] if path else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}  # hot path: isinstance of Mapping takes four times as long


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> Any:
    """Return a number from 0 to ``MAX_NUMBER``, else ``None``, also for NaN and infinity."""
    return value if type(value) in (int, float) and 0 <= value <= MAX_NUMBER else None


def one_line(value: Any) -> str | None:
    """Return a text as a single printable line; ``None`` if the value is not a text.

    The text is cut to ``MAX_TEXT`` characters. Characters that are not printable become ``?``: control
    characters (terminal escapes), changes of the text direction, and lone surrogates.
    """
    if not isinstance(value, str):
        return None
    if value.isprintable() and len(value) <= MAX_TEXT:
        return value
    return "".join([one if one.isprintable() else "?" for one in value[:MAX_TEXT]])


#: Command -> attribute of ``Worker``, and the function that converts the reply.
_READERS: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "active_queues": ("queues", _queue_names),
    "active": ("running", _running),
    "scheduled": ("scheduled", _scheduled),
    "reserved": ("reserved", _reserved),
}
