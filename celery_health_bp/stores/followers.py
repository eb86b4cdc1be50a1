"""Redis clients that find the right server: the first reachable one of a list, or the owner of a cluster's slot.

Both override ``execute_command``, through which redis-py sends every command.
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

#: How long a command may search for its node.
SEARCH_SECONDS = 3.0
#: How often the servers before the one in use are tried again.
RETRY_SECONDS = 5.0
#: How often the list of a cluster's nodes is read again.
REFRESH_SECONDS = 60.0


class _Thread(threading.local):
    """Whether ``one_server`` is active in this thread, and the server that it has selected."""

    is_pinned = False
    server: Any = None


class FirstReachable(_Redis):  # type: ignore[misc]  # redis may be missing
    """Sends each command to the first reachable server of a list.

    Workers and web processes with the same list use the same server. Each
    server has its own record of the batches that were added.

    Arguments:
        clients: one client for each server, in order of preference.
    """

    def __init__(self, clients: Sequence[Any]) -> None:
        super().__init__(connection_pool=clients[0].connection_pool)
        self._clients = clients
        self._used = clients[0]
        self._retry_at = 0.0
        self._thread = _Thread()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command; if no server can be reached, raise the error of the last one."""
        failure: BaseException = RedisConnectionError("no server")
        for client in self._order():
            # Twice at the server in use: its connection may have been closed while it was idle.
            for _ in range(2 if client is self._used else 1):
                try:
                    result = client.execute_command(*args, **options)
                except UNREACHABLE as exc:
                    failure = exc
                else:
                    self._record_use(client)
                    return result
        raise failure

    @contextmanager
    def one_server(self) -> Iterator[None]:
        """Send all commands of this thread to the server of the first one: cursors are valid on one server only."""
        self._thread.is_pinned, self._thread.server = True, None
        try:
            yield
        finally:
            self._thread.is_pinned = False

    def _order(self) -> Sequence[Any]:
        """Return the servers in the order to try. An unreachable one costs seconds, so the one in use comes first."""
        if self._thread.is_pinned and self._thread.server is not None:
            return [self._thread.server]
        now = time.monotonic()
        if self._used is not self._clients[0] and now < self._retry_at:
            return [self._used, *[client for client in self._clients if client is not self._used]]
        self._retry_at = now + RETRY_SECONDS
        return self._clients

    def _record_use(self, client: Any) -> None:
        if self._thread.is_pinned and self._thread.server is None:
            self._thread.server = client
        elif self._thread.is_pinned:
            return  # another thread may have switched to another server
        self._used = client

    def disconnect(self) -> None:
        """Close the connections to all servers."""
        for client in self._clients:
            client.connection_pool.disconnect()


class SlotOwner(_Redis):  # type: ignore[misc]  # redis may be missing
    """Sends each command to the node of a Redis Cluster that owns the slot of the store's keys.

    Not redis-py's ``RedisCluster``, which connects when it is created and needs
    all nodes: it fails if a node is lost that holds no key of the store.

    Arguments:
        hosts: some nodes of the cluster.
        options: options of redis-py for the connection to each node.
    """

    def __init__(self, hosts: Sequence[Host], **options: Any) -> None:
        super().__init__(host=hosts[0][0], port=hosts[0][1], **options)
        self._options = options
        self._given = list(hosts)
        self._known = list(hosts)  # the owner first, once it is known
        self._refreshed_at = 0.0
        self._clients: dict[Host, Any] = {}

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command; if no node runs it, raise the last connection error, or else the first error reply."""
        failure: BaseException | None = None
        end = time.monotonic() + SEARCH_SECONDS
        waiting, tried = list(self._known), set()
        while waiting and time.monotonic() < end:
            host = waiting.pop(0)
            if host in tried:
                continue
            tried.add(host)
            try:
                result = self._client(host).execute_command(*args, **options)
            except UNREACHABLE as exc:
                failure = exc
            except ResponseError as exc:
                owner = moved_to(exc, host)
                if owner is None and not _is_error_reply(exc, "CLUSTERDOWN", "ClusterDownError"):
                    raise
                failure = failure or exc  # an unreachable owner explains more than the nodes that redirect to it
                waiting[:0] = [owner] if owner is not None else []
            else:
                self._remember(host)
                return result
        raise failure or RedisConnectionError("no node")

    def disconnect(self) -> None:
        """Close the connections to all nodes."""
        for client in list(self._clients.values()):
            client.connection_pool.disconnect()

    def _client(self, host: Host) -> Any:
        found = self._clients.get(host)
        return found or self._clients.setdefault(host, Redis(host=host[0], port=host[1], **self._options))

    def _remember(self, owner: Host) -> None:
        """Remember the owner, and refresh the list of nodes if due: when the owner is lost, another knows the next."""
        now = time.monotonic()
        if owner == self._known[0] and self._refreshed_at and now - self._refreshed_at < REFRESH_SECONDS:
            return
        self._refreshed_at = now
        nodes: list[Host] = []
        with suppress(RedisError, OSError):  # the user may lack permission for CLUSTER SLOTS
            nodes = list(_nodes(self._client(owner).execute_command("CLUSTER SLOTS"), owner))
        self._known = list(dict.fromkeys([owner, *(nodes or self._known), *self._given]))
        for host in self._clients.keys() - set(self._known):
            gone = self._clients.pop(host, None)  # None: another thread was faster
            if gone is not None:
                gone.connection_pool.disconnect()


def moved_to(exc: BaseException, sender: Host = ("", 0)) -> Host | None:
    """Return the node that a ``MOVED`` error names, or ``None`` for any other error.

    Arguments:
        sender: node that sent the error; its host stands for an empty one.
    """
    if not _is_error_reply(exc, "MOVED", "MovedError"):
        return None
    found = re.search(r"\d+ (.*):(\d+)$", str(exc))
    return (found[1] or sender[0], int(found[2])) if found else None


def _is_error_reply(exc: BaseException, word: str, class_name: str) -> bool:
    """Return whether Redis sent this error. Some versions of redis-py have a class for it, and drop its first word."""
    return isinstance(exc, ResponseError) and (type(exc).__name__ == class_name or str(exc).startswith(f"{word} "))


def _nodes(slots: Any, sender: Host) -> Iterator[Host]:
    """Return the nodes in a reply to ``CLUSTER SLOTS``; an empty host is the sender's."""
    for _, _, *nodes in slots:
        for name, port, *_ in nodes:
            text = name.decode() if isinstance(name, bytes) else name
            if text is not None and text != "?":
                yield text or sender[0], int(port)
