"""Makes the first use of a Celery app safe against forks of the process.

If a process forks while one of its threads imports a module, or reads one of
kombu's cached properties, the child inherits a lock that is never released.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock, get_ident
from typing import Any

from celery.app.base import PendingConfiguration
from kombu.utils.objects import cached_property

from .errors import DeadlineExceeded

#: How long a fork waits for a first use to end: longer than all imports take.
FORK_PATIENCE_SECONDS = 5.0


class FirstUse:
    """A lock around one-time initialisation, which forks of the process wait for.

    Attributes:
        busy: whether a thread holds the lock.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self.busy: bool = False
        _watch_forks()

    @contextmanager
    def alone(self, timeout_seconds: float) -> Iterator[None]:
        """Hold the lock while the context is active.

        Arguments:
            timeout_seconds: how long to wait for another thread.

        Raises:
            DeadlineExceeded: another thread did not release the lock in time, or this thread
                holds it already: the factory, or a signal handler that interrupted it, asks for
                the app.
        """
        _in_use.append(self)  # before the lock is taken, so that a fork waits for it
        try:
            if not self._lock.acquire(timeout=timeout_seconds):
                raise _not_ready("was not ready in time")
            try:
                if self.busy:
                    raise _not_ready("is not ready yet")
                self.busy = True
                try:
                    yield
                finally:
                    self.busy = False
            finally:
                self._lock.release()
        finally:
            _in_use.remove(self)

    def acquire_for_fork(self, timeout_seconds: float) -> bool:
        """Before a fork: take the lock; ``False`` if another thread still holds it."""
        return self._lock.acquire(timeout=max(0.0, timeout_seconds))

    def release_after_fork(self) -> None:
        """After a fork: release the lock that ``acquire_for_fork`` took."""
        self._lock.release()

    def renew(self) -> None:
        """In a forked child: replace the lock, as the thread that holds it does not exist here."""
        self._lock, self.busy = RLock(), False


def _not_ready(what: str) -> DeadlineExceeded:
    return DeadlineExceeded(f"The Celery app {what}", "Look at what celery_factory waits for")


def renew_locks_in_children(app: Any) -> None:
    """Give forked children new locks for those cached properties of kombu that a check reads.

    kombu has one lock for each property of a class, shared by all objects, and takes it for each access.

    Arguments:
        app: the Celery app whose classes are used.
    """
    connection = app.connection_for_write()
    transport = connection.get_transport_cls()
    users = (app, app.amqp, app.loader, app.control.mailbox, connection)
    for used in (*map(type, users), PendingConfiguration, transport, transport.Channel):
        for owner in used.__mro__:
            _properties.update(found for found in vars(owner).values() if isinstance(found, cached_property))


#: Instances whose lock is held or waited for.
_in_use: list[FirstUse] = []
#: Thread that forks -> instances whose lock it has taken for the fork.
_taken: dict[int, list[FirstUse]] = {}
#: Cached properties of kombu whose locks a child replaces.
_properties: set[Any] = set()


@functools.cache
def _watch_forks() -> None:
    """Register the fork hooks, once: with the first ``CeleryHealth``, not on import."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)


def _before() -> None:
    deadline = time.monotonic() + FORK_PATIENCE_SECONDS
    _taken[get_ident()] = [
        first_use for first_use in tuple(_in_use) if first_use.acquire_for_fork(deadline - time.monotonic())
    ]


def _after_in_parent() -> list[FirstUse]:
    held = _taken.pop(get_ident(), [])
    for first_use in held:
        first_use.release_after_fork()
    return held


def _after_in_child() -> None:
    held = _after_in_parent()
    for first_use in _in_use:
        if first_use not in held:
            first_use.renew()
    _taken.clear()
    # The thread that forked, the only one in the child, may hold the lock itself.
    _in_use[:] = [first_use for first_use in held if first_use.busy]
    for found in _properties:
        found.lock = RLock()
