"""Clients that follow the totals to where they are: along a list of servers, from node to node of a cluster.

To the store each is a client like any other: all commands pass ``execute_command``.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .address import Host

if TYPE_CHECKING:  # redis-py's class is generic in its stubs alone
    _Redis: TypeAlias = Redis[bytes]
else:
    _Redis = Redis

UNREACHABLE = (RedisConnectionError, RedisTimeoutError, OSError)

#: A command that has not found its node by then has failed.
SEARCH_SECONDS = 3.0
#: Earlier servers of a list than the one that answers are tried again after so long.
RETURN_SECONDS = 5.0
#: The nodes of a cluster are learnt again after so long.
LEARN_SECONDS = 60.0


class _Thread(threading.local):
    """Whether the commands of this thread go together, and to which server."""

    together = False
    server: Any = None


class FirstReachable(_Redis):  # type: ignore[misc]  # redis may be missing
    """Sends each command to the first server of a list that can be reached, and tries earlier ones again at times.

    Workers and web processes that have the same list meet at the same server.
    Whether a batch was added before is known to each server for itself.

    Arguments:
        clients: one for each server, in order.
    """

    def __init__(self, clients: Sequence[Any]) -> None:
        super().__init__(connection_pool=clients[0].connection_pool)
        self._clients = clients
        self._used = clients[0]
        self._return_at = 0.0
        self._thread = _Thread()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send it; raise what the last server raised if none can be reached."""
        failure: BaseException = RedisConnectionError("no server")
        for client in self._order():
            # A connection that was closed says nothing of its server: twice where the last command went.
            for _ in range(2 if client is self._used else 1):
                try:
                    result = client.execute_command(*args, **options)
                except UNREACHABLE as exc:
                    failure = exc
                else:
                    self._answered(client)
                    return result
        raise failure

    @contextmanager
    def one_server(self) -> Iterator[None]:
        """All commands of this thread go to the server that answers the first one: its cursors are no other's."""
        self._thread.together, self._thread.server = True, None
        try:
            yield
        finally:
            self._thread.together = False

    def _order(self) -> Sequence[Any]:
        """The servers as they are to be tried: one that cannot be reached costs seconds, so not the first each time."""
        if self._thread.together and self._thread.server is not None:
            return [self._thread.server]
        now = time.monotonic()
        if self._used is not self._clients[0] and now < self._return_at:
            return [self._used, *[client for client in self._clients if client is not self._used]]
        self._return_at = now + RETURN_SECONDS
        return self._clients

    def _answered(self, client: Any) -> None:
        if self._thread.together and self._thread.server is None:
            self._thread.server = client
        elif self._thread.together:
            return  # another thread may have gone on to another one
        self._used = client

    def disconnect(self) -> None:
        """Close all connections."""
        for client in self._clients:
            client.connection_pool.disconnect()


class SlotOwner(_Redis):  # type: ignore[misc]  # redis may be missing
    """Sends each command to the node of a Redis Cluster that owns our keys, which all lie in one slot.

    redis-py's own ``RedisCluster`` connects when it is made, and asks all nodes
    for what concerns one: a lost node that holds nothing of ours would be an error.

    Arguments:
        hosts: some nodes of the cluster.
        options: of redis-py, for the connection to each node.
    """

    def __init__(self, hosts: Sequence[Host], **options: Any) -> None:
        super().__init__(host=hosts[0][0], port=hosts[0][1], **options)
        self._options = options
        self._given = list(hosts)
        self._known = list(hosts)  # the owner first
        self._learnt_at = 0.0
        self._clients: dict[Host, Any] = {}

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send it; raise what the last node raised if the owner cannot be reached."""
        failure: BaseException | None = None
        end = time.monotonic() + SEARCH_SECONDS
        waiting, asked = list(self._known), set()
        while waiting and time.monotonic() < end:
            host = waiting.pop(0)
            if host in asked:
                continue
            asked.add(host)
            try:
                result = self._client(host).execute_command(*args, **options)
            except UNREACHABLE as exc:
                failure = exc
            except ResponseError as exc:
                owner = moved_to(exc, host)
                if owner is None and not _is(exc, "CLUSTERDOWN", "ClusterDownError"):
                    raise
                failure = failure or exc  # a node that cannot be reached says more than those that name it
                waiting[:0] = [owner] if owner is not None else []
            else:
                self._learn(host)
                return result
        raise failure or RedisConnectionError("no node")

    def disconnect(self) -> None:
        """Close all connections."""
        for client in list(self._clients.values()):
            client.connection_pool.disconnect()

    def _client(self, host: Host) -> Any:
        found = self._clients.get(host)
        return found or self._clients.setdefault(host, Redis(host=host[0], port=host[1], **self._options))

    def _learn(self, owner: Host) -> None:
        """Remember the owner, and at times all nodes: one of them will know the next owner when this one is lost."""
        now = time.monotonic()
        if owner == self._known[0] and self._learnt_at and now - self._learnt_at < LEARN_SECONDS:
            return
        self._learnt_at = now
        nodes: list[Host] = []
        with suppress(RedisError, OSError):  # no right to ask is no reason to fail
            nodes = list(_nodes(self._client(owner).execute_command("CLUSTER SLOTS"), owner))
        self._known = list(dict.fromkeys([owner, *(nodes or self._known), *self._given]))
        for host in self._clients.keys() - set(self._known):
            gone = self._clients.pop(host, None)  # another thread may have been faster
            if gone is not None:
                gone.connection_pool.disconnect()


def moved_to(exc: BaseException, asked: Host = ("", 0)) -> Host | None:
    """The node that the answer ``MOVED`` of another one names; ``None`` if it is another answer."""
    if not _is(exc, "MOVED", "MovedError"):
        return None
    found = re.search(r"\d+ (.*):(\d+)$", str(exc))
    return (found[1] or asked[0], int(found[2])) if found else None


def _is(exc: BaseException, word: str, name: str) -> bool:
    """Is it this answer: a class of its own, without the first word, in some versions of redis-py alone."""
    return isinstance(exc, ResponseError) and (type(exc).__name__ == name or str(exc).startswith(f"{word} "))


def _nodes(slots: Any, asked: Host) -> Iterator[Host]:
    """The nodes in an answer to ``CLUSTER SLOTS``; one without a name has that of who answers."""
    for _, _, *nodes in slots:
        for name, port, *_ in nodes:
            text = name.decode() if isinstance(name, bytes) else name
            if text is not None and text != "?":
                yield text or asked[0], int(port)
