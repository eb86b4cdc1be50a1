"""What a test leaves behind: threads, processes, descriptors of this process, names on a broker.

A test that must leave something is marked ``leaves(KIND, reason=...)``.
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

#: Each process that a test starts, and each that those start, has this variable; its value tells the test.
MARK = "STARTED_BY_TEST"
#: Things end asynchronously: so long may they take.
PATIENCE_SECONDS = 2.0
#: Names of our reply queues, and of those of Celery's own remote control, hold one of these.
REPLY_QUEUES = ("celery-health", ".reply.celery.pidbox")
PROC = Path("/proc")


def threads() -> set[str]:
    """Name and number of each thread of this process."""
    return {f"thread {thread.name} ({thread.ident})" for thread in threading.enumerate()}


def descriptors() -> set[str]:
    """Files, sockets and pipes that this process has open.

    Not those of epoll: kombu's Redis transport leaves one for each connection that a test's
    client closes. ``test_faulted_probes_leave_nothing_behind`` has an eye on our own.
    """
    found = set()
    for link in (PROC / "self/fd").iterdir():
        with suppress(OSError):  # the one that listed the folder is closed again
            found.add(f"descriptor {link.name} ({link.readlink()})")
    return {name for name in found if "eventpoll" not in name}


def processes(mark: str) -> set[str]:
    """Children of this process, ended ones too that nobody waited for; and whoever carries the mark."""
    found = set()
    for folder in PROC.glob("[0-9]*"):
        parent = _read(folder / "stat").rpartition(")")[2].split()[1:2]
        if parent == [str(os.getpid())] or f"{MARK}={mark}" in _read(folder / "environ").split("\0"):
            found.add(f"process {folder.name} ({_read(folder / 'cmdline')[:200].replace(chr(0), ' ')})")
    return found


def reply_queues(names: set[str]) -> set[str]:
    """Those of queues or keys that are for replies."""
    return {f"on the broker: {name}" for name in names if any(part in name for part in REPLY_QUEUES)}


def names_on_redis(client: Redis) -> set[str]:
    """Keys of database 0, and the members of the set that binds reply queues."""
    bindings = "_kombu.binding.reply.celery.pidbox"
    keys = {str(key, "latin-1") for key in client.scan_iter()} - {bindings}
    return keys | {str(member, "latin-1") for member in client.smembers(bindings)}


def left(find: Callable[[], set[str]], patience_seconds: float = PATIENCE_SECONDS) -> list[str]:
    """What is still found when nothing was found for a moment, or patience has ended."""
    deadline, pause = time.monotonic() + patience_seconds, threading.Event()
    while (found := find()) and time.monotonic() < deadline:
        pause.wait(0.02)
    return sorted(found)


@contextmanager
def nothing_left(kinds: set[str], patience_seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Fail if there is more some time after the block than before it.

    Arguments:
        kinds: of ``threads``, ``processes``, ``descriptors``.
    """
    outer, mark = os.environ.get(MARK), uuid4().hex
    finders = {"threads": threads, "descriptors": descriptors, "processes": lambda: processes(mark)}

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
    except OSError:  # ended meanwhile, or another user's
        return ""


def may_leave(request: pytest.FixtureRequest) -> set[str]:
    """What a test is marked to leave."""
    return {kind for mark in request.node.iter_markers("leaves") for kind in mark.args}
