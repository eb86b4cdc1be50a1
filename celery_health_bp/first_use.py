"""Keeps forks out of the first use of a Celery app, and the locks of a parent's threads out of its children.

A child that is forked while a thread imports a module, or reads one of kombu's
cached properties, finds a lock taken that nobody will ever release.
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

#: A fork waits for a first use under way, at most for so long: longer than it takes to import everything.
FORK_PATIENCE_SECONDS = 5.0


class FirstUse:
    """A lock around what is done once: for one thread at a time, and not while the process forks.

    Attributes:
        busy: somebody holds it.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self.busy: bool = False
        _watch_forks()

    @contextmanager
    def alone(self, timeout_seconds: float) -> Iterator[None]:
        """Hold the lock.

        Raises:
            DeadlineExceeded: another thread did not release it in time, or this very thread holds it: the factory
                itself asks, or a signal handler that has interrupted it.
        """
        _under_way.append(self)  # before the lock is taken: no fork overlooks it
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
            _under_way.remove(self)

    def hold_off(self, timeout_seconds: float) -> bool:
        """Before a fork: wait until no other thread holds the lock; ``False``: one still does."""
        return self._lock.acquire(timeout=max(0.0, timeout_seconds))

    def let_go(self) -> None:
        """After a fork that was held off."""
        self._lock.release()

    def renew(self) -> None:
        """In a child: the thread that held the lock is not here."""
        self._lock, self.busy = RLock(), False


def _not_ready(what: str) -> DeadlineExceeded:
    return DeadlineExceeded(f"The Celery app {what}", "Look at what celery_factory waits for")


def share_no_locks(app: Any) -> None:
    """Give forked children new locks for kombu's cached properties that a check reads.

    kombu has one lock per property, not per object, and takes it for each reading.
    """
    connection = app.connection_for_write()
    transport = connection.get_transport_cls()
    users = (app, app.amqp, app.loader, app.control.mailbox, connection)
    for used in (*map(type, users), PendingConfiguration, transport, transport.Channel):
        for owner in used.__mro__:
            _properties.update(found for found in vars(owner).values() if isinstance(found, cached_property))


#: First uses that hold their lock or wait for it.
_under_way: list[FirstUse] = []
#: Thread that forks -> those of them that it has held off.
_held_off: dict[int, list[FirstUse]] = {}
_properties: set[Any] = set()


@functools.cache
def _watch_forks() -> None:
    """Done with the first ``CeleryHealth`` and not on import."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)


def _before() -> None:
    deadline = time.monotonic() + FORK_PATIENCE_SECONDS
    _held_off[get_ident()] = [one for one in tuple(_under_way) if one.hold_off(deadline - time.monotonic())]


def _after_in_parent() -> list[FirstUse]:
    held = _held_off.pop(get_ident(), [])
    for one in held:
        one.let_go()
    return held


def _after_in_child() -> None:
    held = _after_in_parent()
    for one in _under_way:
        if one not in held:
            one.renew()
    _held_off.clear()
    _under_way[:] = [one for one in held if one.busy]  # its holder is the thread that forked: no other one is here
    for found in _properties:
        found.lock = RLock()
