"""Asks all workers several things at once: one broadcast, one reply queue, one deadline.

Celery's ``inspect`` asks one thing after the other and waits a full timeout for
each, since it cannot know how many will answer. Here the expected replies are
those that came lately; a check ends with the last of them. This is the one file
that leans on the format of ``kombu.pidbox`` messages.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from kombu import Connection, Consumer, Producer, Queue

from .broker import IO_TIMEOUT_SECONDS, broker_place, open_connection, unreachable
from .errors import BrokerUnreachable
from .queues import declared_queues, read_lengths

#: Command -> its arguments. ``safe`` has Celery send the arguments' repr, not the arguments.
COMMANDS: dict[str, dict[str, Any]] = {
    "stats": {},
    "active_queues": {},
    "active": {"safe": True},
    "scheduled": {},
    "reserved": {},
}

#: The command of workers that run this package: their counts since they started.
COUNTS_COMMAND = "celery_health_counts"

#: A check that expects nobody yet ends after this silence.
SILENCE_SECONDS = 0.1


@dataclass
class Answers:
    """What came back before the deadline.

    Attributes:
        replies: node name -> command -> reply.
        lengths: queue name -> messages waiting, -1 if it could not be read.
        missing: nodes that had answered lately and did not now.
    """

    replies: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    lengths: dict[str, int] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)


class Fleet:
    """All workers of one app, asked by one thread at a time.

    Arguments:
        app: the Celery app; its broker and control exchange are used.
        queues: names of the queues to measure; ``None``: those the app declares
            and those the workers consume.
    """

    def __init__(self, app: Any, queues: tuple[str, ...] | None = None) -> None:
        self._app = app
        self._queues = queues
        self._line: _Line | None = None
        self._expected: set[tuple[str, str]] = set()
        self._slow: set[tuple[str, str]] = set()
        self._consumed: set[str] = set()

    def ask(self, timeout_seconds: float) -> Answers:
        """Ask every worker everything, and measure the queues.

        Arguments:
            timeout_seconds: deadline of the whole call.

        Raises:
            BrokerUnreachable: the broker could not be used, or blocks publishers.
        """
        return self._with_line(self._ask_all, timeout_seconds)

    def ask_counts(self, nodes: Collection[str], timeout_seconds: float) -> Mapping[str, Any]:
        """Ask these nodes for their job counts; those that do not answer are left out.

        A node that did not answer in time is not waited for again until it does.

        Raises:
            BrokerUnreachable: the broker could not be used, or blocks publishers.
        """

        def exchange(line: _Line, answers: Answers, deadline: float) -> None:
            line.publish({COUNTS_COMMAND: {}}, list(nodes))
            expected = {(node, COUNTS_COMMAND) for node in nodes} - self._slow
            self._collect(line, expected, deadline)
            self._slow = (self._slow | expected) - line.answered - line.late

        answers = self._with_line(exchange, timeout_seconds)
        return {node: replies[COUNTS_COMMAND] for node, replies in answers.replies.items()}

    def close(self) -> None:
        """Delete the reply queue and close the connection."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def _with_line(self, exchange: _Exchange, timeout_seconds: float) -> Answers:
        deadline = time.monotonic() + timeout_seconds
        reused = self._line is not None
        try:
            return self._attempt(exchange, deadline, timeout_seconds)
        except BrokerUnreachable:
            if not reused:
                raise
        # The open connection had died since the last check: once more with a new one.
        return self._attempt(exchange, deadline, timeout_seconds)

    def _attempt(self, exchange: _Exchange, deadline: float, timeout_seconds: float) -> Answers:
        line = self._line or self._open(timeout_seconds)
        answers = Answers()
        try:
            line.begin(answers)
            exchange(line, answers, deadline)
        except Exception as exc:  # each transport has exceptions of its own
            self._line = None
            line.abandon()
            raise unreachable(broker_place(self._app), exc) from exc
        if not answers.replies:
            # Nobody there, or the reply queue lost its binding (a flushed Redis),
            # or a broker that blocks: the next check begins from nothing.
            self.close()
            if line.blocked:
                raise BrokerUnreachable(
                    f"Broker {broker_place(self._app)} blocks publishers (memory or disk alarm)",
                    "Free memory or disk space on the broker",
                )
        return answers

    def _open(self, timeout_seconds: float) -> _Line:
        # Connecting, and one more failing call after it, must fit into the deadline.
        self._line = _Line(self._app, min(IO_TIMEOUT_SECONDS, 0.4 * timeout_seconds))
        return self._line

    def _ask_all(self, line: _Line, answers: Answers, deadline: float) -> None:
        names = self._measured()
        if line.connection.transport.driver_type == "amqp":
            # RabbitMQ with a memory alarm answers nothing after the first publish.
            answers.lengths = read_lengths(line.connection, names)
            line.publish(COMMANDS)
        else:
            line.publish(COMMANDS)
            answers.lengths = read_lengths(line.connection, names)
        expected = self._expected
        self._collect(line, expected, deadline)
        answers.missing = {node for node, _ in expected - line.answered}
        self._expected = line.answered | {pair for pair in line.late if pair[1] in COMMANDS}
        self._consumed = {
            queue["name"]
            for reply in answers.replies.values()
            for queue in reply.get("active_queues") or ()
            if isinstance(queue, Mapping) and "name" in queue
        }
        answers.lengths.update(read_lengths(line.connection, self._measured() - set(answers.lengths)))

    def _measured(self) -> set[str]:
        return set(self._queues) if self._queues is not None else declared_queues(self._app) | self._consumed

    def _collect(self, line: _Line, expected: set[tuple[str, str]], deadline: float) -> None:
        """Read replies until all expected ones are there, or, with none expected, until silence."""
        anyone = not expected
        while anyone or not expected <= line.answered:
            wait = deadline - time.monotonic()
            if anyone and line.answered:
                wait = min(wait, SILENCE_SECONDS)
            if wait <= 0 or line.blocked:
                break
            try:
                line.connection.drain_events(timeout=wait)
            except TimeoutError:
                if anyone and line.answered:
                    break


_Exchange = Callable[["_Line", Answers, float], None]


class _Line:
    """One connection to the broker with one reply queue, used for check after check."""

    def __init__(self, app: Any, io_timeout_seconds: float) -> None:
        self._mailbox = app.control.mailbox
        self.blocked = False
        self.answered: set[tuple[str, str]] = set()
        self.late: set[tuple[str, str]] = set()
        self._answers = Answers()
        self._check = ""
        self.connection: Connection = open_connection(
            app, io_timeout_seconds, on_blocked=self._on_blocked, on_unblocked=self._on_unblocked
        )
        name = f"celery-health.{uuid4().hex}"
        self._queue = Queue(
            name,
            exchange=self._mailbox.reply_exchange,
            routing_key=name,
            durable=False,
            exclusive=True,
            auto_delete=True,
        )
        channel = self.connection.default_channel
        self._producer = Producer(channel, auto_declare=False)
        self._consumer = Consumer(
            channel, [self._queue], accept=self._mailbox.accept, no_ack=True, callbacks=[self._on_reply]
        )
        self._consumer.consume()

    def begin(self, answers: Answers) -> None:
        """Start a check: what comes from now on goes into ``answers``."""
        self._check, self._answers = uuid4().hex, answers
        self.answered, self.late = set(), set()

    def publish(self, commands: Mapping[str, Mapping[str, Any]], nodes: list[str] | None = None) -> None:
        """Send commands (name -> arguments) to these nodes, or to every worker."""
        exchange = self._mailbox.exchange
        for command, arguments in commands.items():
            self._producer.publish(
                {
                    "method": command,
                    "arguments": arguments,
                    "destination": nodes,
                    "pattern": None,
                    "matcher": None,
                    "ticket": f"{self._check}.{command}",
                    "reply_to": {"exchange": self._queue.exchange.name, "routing_key": self._queue.routing_key},
                },
                exchange=exchange.name,
                declare=[exchange],
                headers={"clock": self._mailbox.clock.forward(), "expires": 0},
                serializer=self._mailbox.serializer,
                retry=False,
            )

    def close(self) -> None:
        """Leave nothing on the broker."""
        with suppress(Exception):  # the connection may have died meanwhile: then nothing more can be done
            # Redis waits up to a second in BRPOP, and closing waits for it: a message of our own ends that.
            self._producer.publish({}, exchange="", routing_key=self._queue.name, retry=False)
            self.connection.drain_events(timeout=SILENCE_SECONDS)
            self._queue(self.connection.default_channel).delete()
        self.abandon()

    def abandon(self) -> None:
        """Close a connection that may no longer work."""
        with suppress(Exception):  # if it was broken, the socket is closed either way
            self.connection.release()

    def _on_reply(self, body: Any, message: Any) -> None:
        ticket = str(message.headers.get("ticket", ""))
        check, _, command = ticket.partition(".")
        if not isinstance(body, Mapping):
            return
        for node, reply in body.items():
            if isinstance(reply, Mapping) and "error" in reply:
                continue
            if check == self._check:
                self._answers.replies[node][command] = reply
                self.answered.add((node, command))
            else:  # of an earlier check: it is there, and expected from now on
                self.late.add((node, command))

    def _on_blocked(self, *_: Any) -> None:
        self.blocked = True

    def _on_unblocked(self, *_: Any) -> None:
        self.blocked = False
