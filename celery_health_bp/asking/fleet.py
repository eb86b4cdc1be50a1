"""Asks all workers several things at once: one broadcast, one reply queue, one deadline.

Celery's ``inspect`` asks one thing after the other and waits a full timeout for
each, since it cannot know how many will answer. Here the expected replies are
those that came lately; a check ends with the last of them. A reply that comes
later is read by the next check, and expected from then on.

Workers that run this package say everything in their reply to the first
command, and once all are known to do so they are asked no other. The rest is
asked as soon as there is one that does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BrokerUnreachable, CheckError, RemoteControlOff
from ..wire import COUNTS_COMMAND
from .applications import is_another, known_as, own_names, plain
from .broker import IO_TIMEOUT_SECONDS, blocked, drop_connection, open_connection, require_remote_control, unreachable
from .control_channel import ControlChannel, Pair
from .place import broker_place
from .queues import declared_queues, read_lengths
from .replies import facts_of

#: Command -> its arguments. Workers with this package are asked the first alone.
FIRST: dict[str, dict[str, Any]] = {"stats": {}}
#: ``safe`` has Celery send the arguments' repr, not the arguments.
REST: dict[str, dict[str, Any]] = {
    "active_queues": {},
    "active": {"safe": True},
    "scheduled": {},
    "reserved": {},
}
COMMANDS: dict[str, dict[str, Any]] = FIRST | REST

#: A check that expects nobody yet ends after this silence.
SILENCE_SECONDS = 0.1


#: The part of its time that a check that has reached its deadline gives to what killed processes left.
CLEARING_UP = 0.05


@dataclass(frozen=True)
class Answers:
    """What came back before the deadline.

    Attributes:
        facts: node name -> what it says of itself (see ``replies.facts_of``).
        lengths: queue name -> messages waiting, -1 if it could not be read.
        silent: node that answered lately and did not now -> seconds since it did.
        doubled: names under which two nodes answer.
        others: node name -> the same of workers of other applications; in none of the above.
        unread: names of nodes with a reply that was too long to be read.
        problem: why workers cannot be asked at all, whatever they do; the lengths are right.
    """

    facts: Mapping[str, Mapping[str, Any]]
    lengths: Mapping[str, int]
    silent: Mapping[str, float]
    doubled: Collection[str]
    others: Mapping[str, Mapping[str, Any]]
    unread: Collection[str] = ()
    problem: RemoteControlOff | None = None


class Fleet:
    """All workers of one app, asked by one thread at a time.

    Arguments:
        app: the Celery app; its broker and control exchange are used.
        queues: names of the queues to measure; ``None``: those the app declares
            and those the workers consume.
        memory_seconds: how long a node that does not answer any more is told of.
    """

    def __init__(self, app: Any, queues: tuple[str, ...] | None = None, memory_seconds: float = 60) -> None:
        self._app = app
        self._queues = queues
        self._memory_seconds = memory_seconds
        self._own_names: frozenset[str] | None = None
        self._channel: ControlChannel | None = None
        self._expected: set[Pair] | None = None
        self._commands = COMMANDS  # nobody knows yet who says everything at once
        self._slow: set[Pair] = set()
        self._consumed: set[str] = set()
        self._answered_at: dict[str, float] = {}

    def ask(self, timeout_seconds: float) -> Answers:
        """Ask every worker everything, and measure the queues.

        Arguments:
            timeout_seconds: deadline of the whole call.

        Raises:
            BrokerUnreachable: the broker could not be used, or blocks publishers.
        """
        lengths: dict[str, int] = {}

        def exchange(channel: ControlChannel, deadline: float) -> None:
            lengths.update(self._ask_all(channel, deadline))
            channel.clear_up(max(deadline, time.monotonic() + CLEARING_UP * timeout_seconds))

        self._own_names = own_names(self._app)
        try:
            channel = self._with_channel(exchange, timeout_seconds)
        except RemoteControlOff as problem:
            return Answers({}, self._read_lengths_alone(timeout_seconds), {}, (), {}, problem=problem)
        others = {plain(node): facts for node, facts in channel.facts.items() if is_another(node)}
        doubled = sorted(node for node in channel.doubled if not is_another(node))
        return Answers(_own_facts(channel), lengths, self._silent(channel), doubled, others, sorted(channel.unread))

    def ask_counts(self, nodes: Collection[str], timeout_seconds: float) -> Mapping[str, Any]:
        """Ask these nodes for their job counts; those that do not answer are left out, ``None`` is an error's.

        A node that did not answer in time is not waited for again until it does.

        Raises:
            RemoteControlOff: workers cannot be asked at all.
            BrokerUnreachable: see ``ask``.
        """

        def exchange(channel: ControlChannel, deadline: float) -> None:
            channel.publish({COUNTS_COMMAND: {}}, list(nodes))
            asked = {(node, COUNTS_COMMAND) for node in nodes}
            self._collect(channel, asked - self._slow, deadline)
            self._slow = (self._slow | asked) - channel.answered - channel.late

        facts = self._with_channel(exchange, timeout_seconds).facts
        return {node: found.get(COUNTS_COMMAND) for node, found in facts.items()}

    def close(self) -> None:
        """Delete the reply queue and close the connection."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _read_lengths_alone(self, timeout_seconds: float) -> dict[str, int]:
        deadline = time.monotonic() + timeout_seconds
        connection = open_connection(self._app, min(IO_TIMEOUT_SECONDS, 0.4 * timeout_seconds))
        try:
            return read_lengths(connection, self._measured(), deadline)
        except Exception as exc:  # each transport has exceptions of its own
            raise unreachable(broker_place(self._app), exc) from exc
        finally:
            drop_connection(connection)

    def _with_channel(self, exchange: _Exchange, timeout_seconds: float) -> ControlChannel:
        require_remote_control(self._app)
        deadline = time.monotonic() + timeout_seconds
        reused = self._channel is not None
        try:
            return self._attempt(exchange, deadline, timeout_seconds)
        except BrokerUnreachable:
            if not reused or time.monotonic() > deadline:
                raise
        # The open connection had died since the last check: once more with a new one.
        return self._attempt(exchange, deadline, timeout_seconds)

    def _attempt(self, exchange: _Exchange, deadline: float, timeout_seconds: float) -> ControlChannel:
        try:
            channel = self._begun_channel(timeout_seconds)
            exchange(channel, deadline)
        except CheckError:
            self._drop()
            raise
        except Exception as exc:  # each transport has exceptions of its own
            if self._channel is not None and isinstance(exc, self._channel.connection.channel_errors):
                self.close()  # the broker refused one thing, such as a command, and takes others
            else:
                self._drop()
            raise unreachable(broker_place(self._app), exc) from exc
        if channel.blocked:
            self._drop()
            raise blocked(broker_place(self._app))
        return channel

    def _begun_channel(self, timeout_seconds: float) -> ControlChannel:
        if self._channel is not None and not self._channel.begin():
            self.close()
        if self._channel is None:
            # Connecting, and one more failing call after it, must fit into the deadline.
            self._channel = ControlChannel(self._app, min(IO_TIMEOUT_SECONDS, 0.4 * timeout_seconds), self._read)
            self._channel.begin()
        return self._channel

    def _read(self, node: str, command: str, reply: Any) -> tuple[str, Mapping[str, Any]]:
        facts = facts_of(node, command, reply)
        return known_as(node, facts.get("application"), self._own_names), facts

    def _drop(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.drop()

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
        """Ask on if there are workers that did not say everything at once; from then on all is asked at once."""
        own = _own_facts(channel)
        others = {node for node, facts in own.items() if not facts.get("inspected")}
        if others and self._commands == FIRST:
            channel.publish(REST)
            self._collect(
                channel, channel.answered | {(node, command) for node in others for command in REST}, deadline
            )
        self._commands = COMMANDS if others or not own else FIRST

    def _measured(self) -> set[str]:
        return set(self._queues) if self._queues is not None else declared_queues(self._app) | self._consumed

    def _collect(self, channel: ControlChannel, expected: set[Pair] | None, deadline: float) -> None:
        """Read replies until all expected ones are there; ``None``: until silence after the first."""
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
        # Their replies to ``stats`` alone tell whose workers they are.
        ours = [node for node, command in pairs if command == "stats" and not is_another(node)]
        self._answered_at.update(dict.fromkeys(ours, now))

    def _silent(self, channel: ControlChannel) -> dict[str, float]:
        now = time.monotonic()
        self._answered_at = {
            node: then for node, then in self._answered_at.items() if now - then <= self._memory_seconds
        }
        return {node: now - then for node, then in self._answered_at.items() if node not in channel.facts}


def _own_facts(channel: ControlChannel) -> dict[str, Mapping[str, Any]]:
    """Without workers of other applications: their replies to ``stats`` alone tell whose they are."""
    strangers = {plain(node) for node in channel.facts if is_another(node)}
    return {
        node: facts
        for node, facts in channel.facts.items()
        if not is_another(node) and not (node in strangers and "pool" not in facts)
    }


_Exchange = Callable[[ControlChannel, float], None]
