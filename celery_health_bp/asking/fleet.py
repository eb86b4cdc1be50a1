"""Asks all workers several things at once: one broadcast, one reply queue, one deadline.

Celery's ``inspect`` sends one command after the other and waits a full timeout for each, because it
cannot know how many workers will reply. A ``Fleet`` expects the replies that the last check received,
and stops when it has them all. The next check reads the replies that arrive later, and expects them
from then on.

A worker that runs this package answers every command in its reply to ``stats``. When all workers do,
only ``stats`` is sent; otherwise the other commands follow.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import RemoteControlOff
from ..wire import COUNTS_COMMAND
from .applications import is_foreign, node_key, node_name, own_names
from .broker import IO_TIMEOUT_SECONDS, drop_connection, open_connection, unreachable
from .control_channel import ControlChannel, Pair
from .place import broker_place
from .queues import declared_queues, read_lengths
from .replies import facts_of
from .session import Session

#: Command -> its arguments. Enough for workers that run this package.
FIRST: dict[str, dict[str, Any]] = {"stats": {}}
#: With ``safe``, Celery sends the repr of the tasks' arguments, not the arguments.
REST: dict[str, dict[str, Any]] = {
    "active_queues": {},
    "active": {"safe": True},
    "scheduled": {},
    "reserved": {},
}
COMMANDS: dict[str, dict[str, Any]] = FIRST | REST

#: With no known workers, stop this long after the last reply.
SILENCE_SECONDS = 0.1

#: Fraction of the timeout that may be spent, after the deadline, on deleting abandoned reply queues.
CLEANUP_FRACTION = 0.05


@dataclass(frozen=True)
class Answers:
    """The replies that arrived before the deadline.

    Attributes:
        facts: node name -> attributes of ``Worker`` (see ``replies.facts_of``).
        lengths: queue name -> messages waiting, -1 if the length could not be read.
        silent: name of a node that replied recently but not now -> seconds since its last reply.
        doubled: names that two nodes share.
        others: node name -> facts of a worker of another application; not in ``facts``.
        unread: names of nodes that sent a reply too long to be read.
        problem: why no worker can be asked (remote control is off); the lengths are still valid.
    """

    facts: Mapping[str, Mapping[str, Any]]
    lengths: Mapping[str, int]
    silent: Mapping[str, float]
    doubled: Collection[str]
    others: Mapping[str, Mapping[str, Any]]
    unread: Collection[str] = ()
    problem: RemoteControlOff | None = None


class Fleet:
    """All workers of one app. Not thread-safe.

    Arguments:
        app: the Celery app; its broker and control exchange are used.
        queues: names of the queues to measure. ``None``: the queues that the app declares and those
            that the workers consume.
        memory_seconds: how long a silent node stays in the answers.
    """

    def __init__(self, app: Any, queues: tuple[str, ...] | None = None, memory_seconds: float = 60) -> None:
        self._app = app
        self._queues = queues
        self._memory_seconds = memory_seconds
        self._own_names: frozenset[str] | None = None
        self._session = Session(app, self._read)
        self._expected: set[Pair] | None = None
        self._commands = COMMANDS  # until the first check shows that FIRST is enough
        self._slow: set[Pair] = set()
        self._consumed: set[str] = set()
        self._answered_at: dict[str, float] = {}

    def ask(self, timeout_seconds: float) -> Answers:
        """Ask every worker everything, and measure the queues.

        Arguments:
            timeout_seconds: deadline of the whole call.

        Raises:
            BrokerUnreachable: the broker cannot be used, or blocks publishers.
        """
        lengths: dict[str, int] = {}

        def exchange(channel: ControlChannel, deadline: float) -> None:
            lengths.update(self._ask_all(channel, deadline))
            channel.delete_abandoned(max(deadline, time.monotonic() + CLEANUP_FRACTION * timeout_seconds))

        self._own_names = own_names(self._app)
        try:
            channel = self._session.run(exchange, timeout_seconds)
        except RemoteControlOff as problem:
            return Answers({}, self._read_lengths_alone(timeout_seconds), {}, (), {}, problem=problem)
        others = {node_name(key): facts for key, facts in channel.facts.items() if is_foreign(key)}
        doubled = sorted(key for key in channel.doubled if not is_foreign(key))
        return Answers(_own_facts(channel), lengths, self._silent(channel), doubled, others, sorted(channel.unread))

    def ask_counts(self, nodes: Collection[str], timeout_seconds: float) -> Mapping[str, Any]:
        """Ask these nodes for their job counts.

        A node that did not reply in time is not waited for again until it replies.

        Arguments:
            nodes: names of nodes that run this package.
            timeout_seconds: deadline of the whole call.

        Returns:
            Node name -> its reply; ``None`` if the reply is an error. Silent nodes are left out.

        Raises:
            RemoteControlOff: the app's configuration or transport has no remote control.
            BrokerUnreachable: the broker cannot be used, or blocks publishers.
        """

        def exchange(channel: ControlChannel, deadline: float) -> None:
            channel.publish({COUNTS_COMMAND: {}}, list(nodes))
            asked = {(node, COUNTS_COMMAND) for node in nodes}
            self._collect(channel, asked - self._slow, deadline)
            self._slow = (self._slow | asked) - channel.answered - channel.late

        facts = self._session.run(exchange, timeout_seconds).facts
        return {node: found.get(COUNTS_COMMAND) for node, found in facts.items()}

    def close(self) -> None:
        """Delete the reply queue and close the connection."""
        self._session.close()

    def _read_lengths_alone(self, timeout_seconds: float) -> dict[str, int]:
        deadline = time.monotonic() + timeout_seconds
        connection = open_connection(self._app, min(IO_TIMEOUT_SECONDS, 0.4 * timeout_seconds))
        try:
            return read_lengths(connection, self._measured(), deadline)
        except Exception as exc:  # each transport raises its own classes
            raise unreachable(broker_place(self._app), exc) from exc
        finally:
            drop_connection(connection)

    def _read(self, node: str, command: str, reply: Any) -> tuple[str, Mapping[str, Any]]:
        facts = facts_of(node, command, reply)
        return node_key(node, facts.get("application"), self._own_names), facts

    def _ask_all(self, channel: ControlChannel, deadline: float) -> dict[str, int]:
        names = self._measured()
        if channel.virtual:
            channel.publish(self._commands)
            lengths = read_lengths(channel.connection, names, deadline)
        else:  # RabbitMQ with a memory alarm answers nothing after the first publish
            lengths = read_lengths(channel.connection, names, deadline)
            channel.publish(self._commands)
        expected = {pair for pair in self._expected or () if pair[1] in self._commands}
        self._collect(channel, expected or None, deadline)
        self._ask_the_rest(channel, deadline)
        late = {pair for pair in channel.late if pair[1] in COMMANDS}
        channel.late -= late
        self._remember(late | channel.answered)
        # A queue that lost its consumers is shown until it is empty.
        self._consumed = {name for name in self._consumed if lengths.get(name, 0) > 0}
        for facts in _own_facts(channel).values():
            self._consumed.update(facts.get("queues") or ())
        return lengths | read_lengths(channel.connection, self._measured() - lengths.keys(), deadline)

    def _ask_the_rest(self, channel: ControlChannel, deadline: float) -> None:
        """Send the other commands if a worker needs them; from then on, all are sent at once."""
        own = _own_facts(channel)
        incomplete = {node for node, facts in own.items() if not facts.get("inspected")}
        if incomplete and self._commands == FIRST:
            channel.publish(REST)
            wanted = {(node, command) for node in incomplete for command in REST}
            self._collect(channel, channel.answered | wanted, deadline)
        self._commands = COMMANDS if incomplete or not own else FIRST

    def _measured(self) -> set[str]:
        return set(self._queues) if self._queues is not None else declared_queues(self._app) | self._consumed

    def _collect(self, channel: ControlChannel, expected: set[Pair] | None, deadline: float) -> None:
        """Read replies until all expected ones have arrived; with ``None``, until no more arrive."""
        while not (expected is not None and expected <= channel.answered):
            wait = min(deadline - time.monotonic(), SILENCE_SECONDS)
            if channel.blocked:
                return
            if wait <= 0:
                channel.confirm()
                return
            if not channel.listen(wait) and expected is None and channel.answered:
                return

    def _remember(self, pairs: set[Pair]) -> None:
        self._expected = pairs or None
        now = time.monotonic()
        # Only replies to ``stats`` name the worker's application.
        ours = [key for key, command in pairs if command == "stats" and not is_foreign(key)]
        self._answered_at.update(dict.fromkeys(ours, now))

    def _silent(self, channel: ControlChannel) -> dict[str, float]:
        now = time.monotonic()
        self._answered_at = {
            node: then for node, then in self._answered_at.items() if now - then <= self._memory_seconds
        }
        return {node: now - then for node, then in self._answered_at.items() if node not in channel.facts}


def _own_facts(channel: ControlChannel) -> dict[str, Mapping[str, Any]]:
    """Return the facts of our application's nodes.

    Only a reply to ``stats`` names the application: other replies of a foreign node are found by its name.
    """
    foreign = {node_name(key) for key in channel.facts if is_foreign(key)}
    return {
        node: facts
        for node, facts in channel.facts.items()
        if not is_foreign(node) and not (node in foreign and "pool" not in facts)
    }
