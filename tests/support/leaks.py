"""Find what a test leaves behind: threads, processes, descriptors of this process, names on a broker.

Mark a test that must leave something ``leaves(KIND, reason=...)``.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    import pytest
    from redis import Redis

#: Environment variable of all processes that a test starts, directly or indirectly; its value identifies the test.
MARK = "STARTED_BY_TEST"
#: How long threads, processes and connections may take to end after the test.
PATIENCE_SECONDS = 2.0
#: The names of our reply queues, and of those of Celery's remote control, contain one of these.
REPLY_QUEUES = ("celery-health", ".reply.celery.pidbox")
PROC = Path("/proc")


def threads() -> set[str]:
    """Return name and id of each thread of this process."""
    return {f"thread {thread.name} ({thread.ident})" for thread in threading.enumerate()}


def descriptors() -> set[str]:
    """Return the open files, sockets and pipes of this process.

    Descriptors of epoll are left out: kombu's Redis transport leaves one for each connection that a
    test's client closes. ``test_faulted_probes_leave_nothing_behind`` checks those of the package.
    """
    found = set()
    for link in (PROC / "self/fd").iterdir():
        with suppress(OSError):  # the descriptor that listed the folder is already closed
            found.add(f"descriptor {link.name} ({link.readlink()})")
    return {name for name in found if "eventpoll" not in name}


def pids() -> set[str]:
    """Return the ids of all processes of the machine."""
    return {name for name in os.listdir(PROC) if name.isdecimal()}


def processes(mark: str, before: set[str]) -> set[str]:
    """Return new children of this process, zombies too, and new processes that carry the mark.

    Arguments:
        before: ids of older processes, which are not read: that would cost milliseconds per test.
    """
    found = set()
    for pid in pids() - before:
        folder = PROC / pid
        parent = _read(folder / "stat").rpartition(")")[2].split()[1:2]
        if parent == [str(os.getpid())] or f"{MARK}={mark}" in _read(folder / "environ").split("\0"):
            found.add(f"process {pid} ({_read(folder / 'cmdline')[:200].replace(chr(0), ' ')})")
    return found


def reply_queues(names: set[str]) -> set[str]:
    """Return the names of queues or keys that are for replies."""
    return {f"on the broker: {name}" for name in names if any(part in name for part in REPLY_QUEUES)}


def names_on_redis(client: Redis) -> set[str]:
    """Return the keys of database 0, and the members of the set that binds reply queues."""
    bindings = "_kombu.binding.reply.celery.pidbox"
    keys = {str(key, "latin-1") for key in client.scan_iter()} - {bindings}
    return keys | {str(member, "latin-1") for member in client.smembers(bindings)}


def left(find: Callable[[], set[str]], patience_seconds: float = PATIENCE_SECONDS) -> list[str]:
    """Return what ``find`` still finds after ``patience_seconds``; stop as soon as it finds nothing."""
    deadline, pause = time.monotonic() + patience_seconds, threading.Event()
    while (found := find()) and time.monotonic() < deadline:
        pause.wait(0.02)
    return sorted(found)


@contextmanager
def nothing_left(kinds: set[str], patience_seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Fail if more is found some time after the block than before it.

    Arguments:
        kinds: any of ``threads``, ``processes``, ``descriptors``.
    """
    outer, mark, older = os.environ.get(MARK), uuid4().hex, pids()
    finders = {"threads": threads, "descriptors": descriptors, "processes": lambda: processes(mark, older)}

    def find() -> set[str]:
        return set().union(*(finders[kind]() for kind in kinds))

    before = find()
    os.environ[MARK] = mark
    yield
    os.environ.pop(MARK) if outer is None else os.environ.update({MARK: outer})
    remaining = left(lambda: find() - before, patience_seconds)
    assert not remaining, f"left: {'; '.join(remaining)}"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it has ended, or belongs to another user
        return ""


def may_leave(request: pytest.FixtureRequest) -> set[str]:
    """Return the kinds that the test is marked to leave."""
    return {kind for mark in request.node.iter_markers("leaves") for kind in mark.args}
