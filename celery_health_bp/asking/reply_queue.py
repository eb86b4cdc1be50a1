"""Names of reply queues that tell their owner, and the removal of those whose owner was killed.

An AMQP broker drops an exclusive queue with its connection. On Redis a client
that is killed leaves its binding for good, and the replies that still come. An
expiry cannot clear that up: it ends the list, never the binding. So whoever opens
a queue removes those of dead processes of its host, and those of other hosts
whose lease is long over: the names of all are in the one set of bindings.
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

#: How long a queue is used before its owner makes another one.
LEASE_SECONDS = 3600
#: The clocks of two hosts may differ by this much.
MARGIN_SECONDS = 600


#: Names of queues that this process (or the one it was forked from) has now.
_in_use: set[str] = set()


def new_name(lease_end: float, exchange: str) -> str:
    """A name for this process's queue: ``celery-health.HOST.PID.LEASE_END.RANDOM.reply.celery.pidbox``.

    It ends as kombu's own names do: permissions for those cover it.

    Arguments:
        lease_end: seconds since the epoch; the queue is not used any longer.
        exchange: name of kombu's exchange for replies.
    """
    name = f"{PREFIX}.{_host()}.{os.getpid()}.{int(lease_end)}.{uuid4().hex}.{exchange}"
    _in_use.add(name)
    return name


def abandon(name: str) -> None:
    """This process uses the queue no longer; what is left of it counts as abandoned."""
    _in_use.discard(name)


def abandoned(channel: Any, exchange: str) -> list[str]:
    """Queues of ours bound to ``exchange`` whose owner is gone.

    Arguments:
        channel: of a virtual transport of kombu, which keeps bindings itself.
    """
    return [row[-1] for row in channel.get_table(exchange) if _is_abandoned(row[-1])]


def delete(channel: Any, exchange: str, name: str) -> None:
    """Delete a queue of ours and its binding, whoever made it."""
    # The channel deletes what it knows to be bound: tell it.
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
    """The same for processes that see each other's process ids, and for no others."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # Linux alone has these
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _is_running(pid: int) -> bool:
    if os.name != "posix":  # pragma: no cover  (there signal 0 would not be harmless; tests run on Linux)
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # pragma: no cover  (another user's; root, as in CI, may signal every process)
        return True
    return True
