"""A Redis Cluster of three masters, and a replica of the one that owns the slot of our keys."""

from __future__ import annotations

import binascii
from pathlib import Path

from tests.support.processes import wait_until
from tests.support.servers import RedisServer, free_port

SLOTS = 16384
#: The slot of all keys with the default prefix.
OUR_SLOT = binascii.crc_hqx(b"celery_health", 0) % SLOTS

#: The other nodes go on when one is lost.
OPTIONS = (
    "--cluster-enabled", "yes", "--cluster-node-timeout", "500", "--cluster-replica-validity-factor", "0",
    "--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0",
)  # fmt: skip


class Cluster:
    """Start three masters and one replica, and wait until they are ready.

    Attributes:
        masters: the first owns the slot of our keys.
    """

    def __init__(self, folder: Path) -> None:
        self.masters: list[Node] = []
        self.replica: Node | None = None
        try:
            self.masters += [Node(folder / f"master{number}") for number in range(3)]
            self.replica = Node(folder / "replica")
            self._join()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all nodes."""
        for server in (*self.masters, self.replica):
            if server is not None:
                server.stop()

    def owner_is(self, node: RedisServer) -> bool:
        """Return whether all running masters name this node as the owner of our slot."""
        return all(_owner(server) == node.port for server in self.masters if server.process is not None)

    def in_step(self) -> bool:
        """Return whether the replica has everything that its master wrote."""
        return _offset(self.masters[0]) == _offset(self.replica)

    def swap(self) -> None:
        """Make the replica the owner by an orderly failover."""
        assert self.replica is not None
        with self.replica.client() as client:
            client.execute_command("CLUSTER", "FAILOVER")
        self.wait_for_owner(self.replica)

    def wait_for_owner(self, node: Node) -> None:
        """Wait until all masters name this node as the owner."""
        wait_until(lambda: self.owner_is(node), "all know the new owner", 20)

    def _join(self) -> None:
        assert self.replica is not None
        nodes = [*self.masters, self.replica]
        others = [slot for slot in range(SLOTS) if slot != OUR_SLOT]
        shares = [[OUR_SLOT], others[: SLOTS // 2], others[SLOTS // 2 :]]
        for master, slots in zip(self.masters, shares, strict=True):
            with master.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTS", *slots)
        with self.masters[0].client() as client:
            for node in nodes[1:]:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus_port)
        name = _name(self.masters[0])
        with self.replica.client() as client:
            wait_until(lambda: name in str(client.execute_command("CLUSTER NODES")), "the replica has met its master")
            client.execute_command("CLUSTER", "REPLICATE", name)
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", "it replicates")
        wait_until(lambda: all(_knows(node, len(nodes)) for node in nodes), "all know each other")
        wait_until(lambda: self.owner_is(self.masters[0]), "all know the owner")


class Node(RedisServer):
    """One node. Its bus has a separate port: the default, 10,000 above the first, may be no valid port."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.bus_port = free_port()
        super().__init__(folder, *OPTIONS, "--cluster-port", str(self.bus_port))


def _name(server: RedisServer) -> str:
    with server.client() as client:
        found = client.execute_command("CLUSTER MYID")
    return found.decode() if isinstance(found, bytes) else str(found)


def _knows(server: RedisServer, count: int) -> bool:
    with server.client() as client:
        found = client.execute_command("CLUSTER INFO")
    state = found if isinstance(found, dict) else dict(line.split(":") for line in found.decode().split())
    return state["cluster_state"] == "ok" and int(state["cluster_known_nodes"]) == count


def _owner(server: RedisServer) -> int | None:
    with server.client() as client:
        for first, last, (_, port, *_), *_ in client.execute_command("CLUSTER SLOTS"):
            if first <= OUR_SLOT <= last:
                return int(port)
    return None


def _offset(server: RedisServer | None) -> int:
    assert server is not None
    with server.client() as client:
        state = client.info("replication")
    return int(state.get("slave_repl_offset", state["master_repl_offset"]))
