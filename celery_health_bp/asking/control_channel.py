"""One connection to the broker with one reply queue, reused by one check after another.

No other file depends on the format of ``kombu.pidbox`` messages.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

from kombu import Connection, Consumer, Producer, Queue

from . import reply_queue
from .broker import drop_connection, open_connection
from .queues import read_lengths
from .replies import one_line, sender_of

logger: logging.Logger = logging.getLogger(__name__)

#: Longer than a worker takes from looking up the binding of a reply queue to sending its reply.
SETTLE_SECONDS = 0.02

#: A longer reply is not read. About 10,000 attempts with their arguments fit.
MAX_REPLY_BYTES = 8 * 2**20

#: Node key (see ``applications.node_key``) and command of a reply.
Pair = tuple[str, str]
#: Node name, command, reply -> node key and facts.
Reader = Callable[[str, str, Any], tuple[str, Mapping[str, Any]]]


class ControlChannel:
    """Sends control commands to workers and collects the facts from their replies.

    Every method that sends may raise an exception of the transport.

    Arguments:
        app: the Celery app.
        io_timeout_seconds: timeout of each call to the broker.
        read: converts a reply, see ``Reader``.

    Attributes:
        facts: node key -> facts from its replies since ``begin``; empty if all its replies are errors.
        answered: the replies since ``begin``, without errors.
        late: replies to commands sent before ``begin``; the caller removes them.
        doubled: keys of nodes that replied twice to one command.
        unread: names of nodes that sent a reply too long to be read.
        blocked: the broker blocks publishers (AMQP's ``connection.blocked``).
        virtual: kombu keeps the bindings of queues, as on Redis; an AMQP broker keeps them itself.

    Raises:
        BrokerUnreachable: no connection to the broker.
    """

    def __init__(self, app: Any, io_timeout_seconds: float, read: Reader) -> None:
        self._read = read
        self._mailbox = app.control.mailbox
        self.blocked: bool = False
        self.late: set[Pair] = set()
        self._ticket = self._earlier_ticket = ""
        self._earlier_answered: set[Pair] = set()
        self._reset()
        self.connection: Connection = open_connection(
            app, io_timeout_seconds, on_blocked=self._on_blocked, on_unblocked=self._on_unblocked
        )
        self.virtual: bool = self.connection.transport.driver_type != "amqp"
        self._lease_end = time.time() + reply_queue.LEASE_SECONDS
        self._name = reply_queue.new_name(self._lease_end, self._mailbox.reply_exchange.name)
        try:
            self._open_queue()
        except self.connection.channel_errors:  # such as a missing permission: the connection still works
            self.close()
            raise
        except BaseException:
            self.drop()
            raise

    def _open_queue(self) -> None:
        exchange = self._mailbox.reply_exchange
        name = self._name
        self._queue = Queue(name, exchange=exchange, routing_key=name, durable=False, exclusive=True, auto_delete=True)
        channel = self.connection.default_channel
        self._producer = Producer(channel, auto_declare=False)
        self._consumer = Consumer(
            channel,
            [self._queue],
            accept=self._mailbox.accept,
            no_ack=True,
            on_message=self._on_message,
            on_decode_error=self._on_unreadable,
        )
        self._consumer.consume()
        self._abandoned = reply_queue.abandoned(channel, exchange.name) if self.virtual else []

    def begin(self) -> bool:
        """Start a check: from now on, replies to earlier commands are late.

        Returns:
            ``False`` if the reply queue's lease has ended, or its binding is lost (a flushed Redis).
        """
        self._earlier_ticket, self._earlier_answered = self._ticket, self.answered
        self._reset()
        if time.time() > self._lease_end:
            return False
        if not self.virtual:
            return True
        # Redis accepts a broadcast (PUBLISH) even if it refuses writes: only this message fails then.
        self._producer.publish({}, exchange="", routing_key=self._name, retry=False)
        table = self.connection.default_channel.get_table(self._mailbox.reply_exchange.name)
        return any(row[-1] == self._name for row in table)

    def _reset(self) -> None:
        self._ticket = uuid4().hex
        self._asked: set[str] = set()
        self.facts: dict[str, dict[str, Any]] = defaultdict(dict)
        self.answered: set[Pair] = set()
        self.doubled: set[str] = set()
        self.unread: set[str] = set()

    def publish(self, commands: Mapping[str, Mapping[str, Any]], nodes: list[str] | None = None) -> None:
        """Send commands (name -> arguments) to these nodes; ``None``: to all."""
        self._asked |= commands.keys()
        exchange = self._mailbox.exchange
        for command, arguments in commands.items():
            self._producer.publish(
                {
                    "method": command,
                    "arguments": arguments,
                    "destination": nodes,
                    "pattern": None,
                    "matcher": None,
                    "ticket": f"{self._ticket}.{command}",
                    "reply_to": {"exchange": self._queue.exchange.name, "routing_key": self._queue.routing_key},
                },
                exchange=exchange.name,
                declare=[exchange],
                # Not clock.forward(): it takes a lock, which a forked process may inherit locked.
                headers={"clock": self._mailbox.clock.value, "expires": 0},
                serializer=self._mailbox.serializer,
                retry=False,
            )

    def listen(self, seconds: float) -> bool:
        """Wait at most this long for a message; return whether one arrived."""
        try:
            self.connection.drain_events(timeout=seconds)
        except TimeoutError:
            return False
        return True

    def confirm(self) -> None:
        """Raise if the broker does not answer: then missing replies do not mean missing workers."""
        read_lengths(self.connection, [self._name])

    def delete_abandoned(self, deadline: float) -> None:
        """Delete the reply queues that were abandoned when this channel was opened; stop at the deadline.

        Call it after the workers have replied: they reply to killed processes first.
        """
        while self._abandoned and time.monotonic() < deadline:
            self._delete(self._abandoned.pop())

    def close(self) -> None:
        """Delete the reply queue and close the connection."""
        if not self.blocked:
            with suppress(Exception):  # the connection may be lost: then the queue cannot be deleted
                self._delete(self._name)
                if self.virtual:
                    # A worker that has looked up the binding before may still send its reply.
                    time.sleep(SETTLE_SECONDS)
                    self._delete(self._name)
        self.drop()

    def _delete(self, name: str) -> None:
        channel = self.connection.default_channel
        if self.virtual:
            reply_queue.delete(channel, self._mailbox.reply_exchange.name, name)
        else:
            channel.queue_delete(name)

    def drop(self) -> None:
        """Close the connection without sending anything to the broker."""
        drop_connection(self.connection)
        reply_queue.abandon(self._name)

    def _on_message(self, message: Any) -> None:
        if len(message.body or b"") > MAX_REPLY_BYTES:
            self._on_long_reply(message)
            return
        try:
            body = message.decode()
        except Exception as exc:  # each serializer raises its own classes
            self._on_unreadable(message, exc)
        else:
            self._on_reply(body, message)

    def _on_reply(self, body: Any, message: Any) -> None:
        if not isinstance(body, dict) or len(body) != 1:
            return
        ((name, reply),) = body.items()
        node = one_line(name)
        if node is None:
            return
        ticket, command = _ticket_of(message)
        if not (isinstance(reply, dict) and "error" in reply):
            self._record(node, command, ticket, reply)
        elif ticket == self._ticket:
            self.facts.setdefault(node, {})

    def _on_long_reply(self, message: Any) -> None:
        """Record only that the node replied: decoding would take about 12 times the length in memory."""
        node, (ticket, command) = sender_of(message.body), _ticket_of(message)
        if node is not None:
            self._record(node, command, ticket, None)
            self.unread.add(node)

    def _record(self, node: str, command: str, ticket: str, reply: Any) -> None:
        key, facts = self._read(node, command, reply)
        pair = (key, command)
        current = ticket == self._ticket
        if pair in self.answered if current else ticket == self._earlier_ticket and pair in self._earlier_answered:
            self.doubled.add(key)
        elif not current:
            self.late.add(pair)
        elif command in self._asked:
            self.answered.add(pair)
            self.facts[key].update(facts)

    def _on_unreadable(self, message: Any, exc: Exception) -> None:
        logger.debug("a reply of type %s cannot be read", message.content_type, exc_info=exc)

    def _on_blocked(self, *_: Any) -> None:
        self.blocked = True

    def _on_unblocked(self, *_: Any) -> None:
        self.blocked = False


def _ticket_of(message: Any) -> tuple[str, str]:
    """Return the ticket of the check, and the command."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    ticket, _, command = str(headers.get("ticket", "")).partition(".")
    return ticket, command
