"""One connection to the broker with one reply queue, used for check after check.

This is the one file that leans on the format of ``kombu.pidbox`` messages.
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

#: Longer than a worker takes from looking up where a reply goes to sending it.
SETTLE_SECONDS = 0.02

#: A longer reply is not read: some 10,000 attempts with their arguments are shorter.
MAX_REPLY_BYTES = 8 * 2**20

#: A reply: who answered what (node name, command).
Pair = tuple[str, str]
#: Node, command, reply -> what the node goes by, and what the reply says, by name.
Reader = Callable[[str, str, Any], tuple[str, Mapping[str, Any]]]


class ControlChannel:
    """Sends commands to the workers and gathers what their replies say.

    Arguments:
        io_timeout_seconds: bounds each call to the broker.
        read: turns a reply into what its node goes by and what it says, by name; called with node, command and reply.

    Attributes:
        facts: node name -> what its replies to the commands sent since ``begin`` say; errors are left out,
            their nodes are not.
        answered: the same as pairs.
        late: pairs that answered to an earlier ``begin``; the caller takes them out.
        doubled: nodes that answered the same command twice.
        unread: nodes with a reply that is too long to be read.
        blocked: the broker has told us that it blocks publishers.

    Raises:
        BrokerUnreachable: no connection.
        Exception: the transport's own, from every method that sends.
    """

    def __init__(self, app: Any, io_timeout_seconds: float, read: Reader) -> None:
        self._read = read
        self._mailbox = app.control.mailbox
        self.blocked: bool = False
        self.late: set[Pair] = set()
        self._ticket = self._earlier_ticket = ""
        self._earlier_answered: set[Pair] = set()
        self._start_anew()
        self.connection: Connection = open_connection(
            app, io_timeout_seconds, on_blocked=self._on_blocked, on_unblocked=self._on_unblocked
        )
        #: kombu itself keeps the bindings, in Redis say; an AMQP broker does it by itself.
        self.virtual: bool = self.connection.transport.driver_type != "amqp"
        self._lease_end = time.time() + reply_queue.LEASE_SECONDS
        self._name = reply_queue.new_name(self._lease_end, self._mailbox.reply_exchange.name)
        try:
            self._open_queue()
        except self.connection.channel_errors:  # such as a missing permission: the connection is sound
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
        """Start a check: replies to commands sent before are late from now on.

        ``False``: the queue cannot be used any longer; its lease is over, or
        its binding was lost (a flushed Redis).
        """
        self._earlier_ticket, self._earlier_answered = self._ticket, self.answered
        self._start_anew()
        if time.time() > self._lease_end:
            return False
        if not self.virtual:
            return True
        # Publishing to workers is no write to Redis: one that takes no writes shows only now.
        self._producer.publish({}, exchange="", routing_key=self._name, retry=False)
        table = self.connection.default_channel.get_table(self._mailbox.reply_exchange.name)
        return any(row[-1] == self._name for row in table)

    def _start_anew(self) -> None:
        self._ticket = uuid4().hex
        self._asked: set[str] = set()
        self.facts: dict[str, dict[str, Any]] = defaultdict(dict)
        self.answered: set[Pair] = set()
        self.doubled: set[str] = set()
        self.unread: set[str] = set()

    def publish(self, commands: Mapping[str, Mapping[str, Any]], nodes: list[str] | None = None) -> None:
        """Send commands (name -> arguments) to these nodes, or to every worker."""
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
                headers={"clock": self._mailbox.clock.value, "expires": 0},  # forward() takes a lock that forks copy
                serializer=self._mailbox.serializer,
                retry=False,
            )

    def listen(self, seconds: float) -> bool:
        """Wait so long for a message; ``False``: there was none."""
        try:
            self.connection.drain_events(timeout=seconds)
        except TimeoutError:
            return False
        return True

    def confirm(self) -> None:
        """Raise if the broker does not answer any more: then silence says nothing about workers."""
        read_lengths(self.connection, [self._name])

    def clear_up(self, until: float) -> None:
        """Delete queues that were abandoned when this channel was opened; stop at ``until`` (``time.monotonic``).

        Best done when the workers have answered: their replies to those who were killed came before.
        """
        while self._abandoned and time.monotonic() < until:
            self._delete(self._abandoned.pop())

    def close(self) -> None:
        """Leave nothing on the broker."""
        if not self.blocked:
            with suppress(Exception):  # the connection may have died meanwhile: then nothing more can be done
                self._delete(self._name)
                if self.virtual:
                    # A worker that had just looked up our binding sends its reply after it was deleted.
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
        """Close the connection without another word to the broker."""
        drop_connection(self.connection)
        reply_queue.abandon(self._name)

    def _on_message(self, message: Any) -> None:
        if len(message.body or b"") > MAX_REPLY_BYTES:
            self._on_long_reply(message)
            return
        try:
            body = message.decode()
        except Exception as exc:  # whatever a serializer raises
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
            self._take(node, command, ticket, reply)
        elif ticket == self._ticket:
            self.facts.setdefault(node, {})

    def _on_long_reply(self, message: Any) -> None:
        """Decoding would cost a dozen times its length in memory: the node has answered, what is not known."""
        node, (ticket, command) = sender_of(message.body), _ticket_of(message)
        if node is not None:
            self._take(node, command, ticket, None)
            self.unread.add(node)

    def _take(self, node: str, command: str, ticket: str, reply: Any) -> None:
        node, said = self._read(node, command, reply)
        pair = (node, command)
        current = ticket == self._ticket
        if pair in self.answered if current else ticket == self._earlier_ticket and pair in self._earlier_answered:
            self.doubled.add(node)
        elif not current:
            self.late.add(pair)
        elif command in self._asked:
            self.answered.add(pair)
            self.facts[node].update(said)

    def _on_unreadable(self, message: Any, exc: Exception) -> None:
        logger.debug("a reply of type %s cannot be read", message.content_type, exc_info=exc)

    def _on_blocked(self, *_: Any) -> None:
        self.blocked = True

    def _on_unblocked(self, *_: Any) -> None:
        self.blocked = False


def _ticket_of(message: Any) -> tuple[str, str]:
    """The ticket of ``begin``, and the command."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    ticket, _, command = str(headers.get("ticket", "")).partition(".")
    return ticket, command
