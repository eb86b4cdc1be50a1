"""A node with scripted replies: it answers commands of ``kombu.pidbox`` and runs no jobs."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import TracebackType
from typing import Any

from celery import Celery

#: The replies of an idle worker of the queue ``celery``.
REPLIES: dict[str, Any] = {
    "stats": {"uptime": 1, "pool": {"max-concurrency": 1}},
    "active_queues": [{"name": "celery"}],
    "active": [],
    "scheduled": [],
    "reserved": [],
}

#: How many commands a check sends to each worker.
COMMANDS = len(REPLIES)


class ScriptedNode:
    """Answer commands on a thread, one after the other, each after ``delay_seconds``.

    Arguments:
        replies: command -> reply; other commands get an error, as from a real node.
        reply_name: the name in its replies, if it differs from ``name``.

    Attributes:
        received: how many commands it has received.
    """

    def __init__(
        self, app: Celery, name: str, replies: dict[str, Any] | None = None, reply_name: str | None = None
    ) -> None:
        self.received = 0
        self.delay_seconds = 0.0
        self._ended = threading.Event()
        self._awake = threading.Event()
        self._connection = app.connection_for_read()
        node = app.control.mailbox.Node(name, channel=self._connection.default_channel)
        for command, reply in (REPLIES if replies is None else replies).items():
            node.handlers[command] = self._handler(reply)
        self._consumer = node.listen()
        node.hostname = reply_name or name
        self._poll()  # subscribed from now on
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> ScriptedNode:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._ended.set()
        self._awake.set()
        self._thread.join(10)
        self._connection.release()

    def wake(self) -> None:
        """Answer at once from now on, also the command that waits."""
        self.delay_seconds = 0
        self._awake.set()

    def _handler(self, reply: Any) -> Any:
        def handle(state: Any, **arguments: Any) -> Any:
            self.received += 1
            self._awake.wait(self.delay_seconds)
            return reply

        return handle

    def _serve(self) -> None:
        while not self._ended.is_set():
            self._poll()

    def _poll(self) -> None:
        with suppress(TimeoutError):
            self._connection.drain_events(timeout=0.05)
