"""Names of reply queues, and the deletion of queues whose owner was killed.

An AMQP broker deletes an exclusive queue with its connection. On Redis, a killed client leaves its binding
forever, and the replies that still arrive. An expiry does not help: it deletes the list, not the binding.
The names of all queues are in one set of bindings, and each name identifies its owner. A process that opens
a queue therefore deletes the queues of dead processes on its host, and the queues of other hosts whose
lease has ended.
"""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

PREFIX = "celery-health"

#: How long a queue is used before its owner replaces it.
LEASE_SECONDS = 3600
#: Allowed difference between the clocks of two hosts.
MARGIN_SECONDS = 600


#: Names of the queues that this process, or the one it was forked from, uses now.
_in_use: set[str] = set()


def new_name(lease_end: float, exchange: str) -> str:
    """Return a name for a queue of this process: ``celery-health.HOST.PID.LEASE_END.RANDOM.reply.celery.pidbox``.

    It ends like kombu's own names, so that permissions for those cover it.

    Arguments:
        lease_end: end of use, in seconds since the epoch.
        exchange: name of kombu's exchange for replies.
    """
    name = f"{PREFIX}.{_host()}.{os.getpid()}.{int(lease_end)}.{uuid4().hex}.{exchange}"
    _in_use.add(name)
    return name


def abandon(name: str) -> None:
    """Mark a queue of this process as no longer in use."""
    _in_use.discard(name)


def abandoned(channel: Any, exchange: str) -> list[str]:
    """Return the names of our reply queues whose owner no longer exists.

    Arguments:
        channel: of a kombu transport that keeps the bindings itself (virtual).
        exchange: name of the exchange that the queues are bound to.
    """
    return [row[-1] for row in channel.get_table(exchange) if _is_abandoned(row[-1])]


def delete(channel: Any, exchange: str, name: str) -> None:
    """Delete a reply queue and its binding, also those of another process.

    Arguments:
        channel: of a kombu transport that keeps the bindings itself (virtual).
        exchange: name of the exchange that the queue is bound to.
        name: name of the queue.
    """
    # A channel deletes only bindings that it knows.
    channel.state.binding_declare(name, exchange, name, None)
    channel.queue_delete(name)


def _is_abandoned(name: str) -> bool:
    prefix, _, owner = name.partition(".")
    host, _, rest = owner.partition(".")
    pid, _, rest = rest.partition(".")
    lease_end = rest.partition(".")[0]
    if prefix != PREFIX or not pid.isdecimal() or not lease_end.isdecimal():
        return False
    if host == _host() and not (name in _in_use if int(pid) == os.getpid() else _is_running(int(pid))):
        return True
    return time.time() > int(lease_end) + MARGIN_SECONDS


@functools.cache
def _host() -> str:
    """Return an id shared by the processes that see each other's process ids: one host, boot and pid namespace."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # Linux only
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _is_running(pid: int) -> bool:
    if os.name != "posix":  # pragma: no cover  (signal 0 is harmless on POSIX only; tests run on Linux)
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # pragma: no cover  (another user's process; CI runs as root)
        return True
    return True
