"""A Redis with a replica, and three sentinels that watch them."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from tests.support.processes import Process, wait_until
from tests.support.servers import RedisServer, free_port, redis_binary

MASTER = "mymaster"

CONFIG = """\
port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor {master} 127.0.0.1 {watched} 2
sentinel down-after-milliseconds {master} 500
sentinel failover-timeout {master} 2000
"""

#: By default, sentinels announce themselves every 2 s and look for replicas every 10 s; changeable since Redis 7.0.
#: With shorter periods than these, one sentinel undoes the promotion of another one.
QUICK = ("info-period", 100, "publish-period", 500, "ask-period", 100)


class Sentinel(Process):
    """One sentinel."""

    def __init__(self, folder: Path, watched: int, password: str) -> None:
        self.port = free_port()
        text = CONFIG.format(port=self.port, folder=folder, master=MASTER, watched=watched)
        config = folder / f"sentinel-{self.port}.conf"  # the sentinel rewrites this file
        config.write_text(text + (f"sentinel auth-pass {MASTER} {password}\n" if password else ""))
        super().__init__([redis_binary(), str(config), "--sentinel"], folder / f"sentinel-{self.port}.log")

    def client(self) -> Redis:
        """Return a client of the sentinel itself."""
        return Redis(port=self.port)


class SentinelGroup:
    """A master, its replica and three sentinels, ready for a failover."""

    def __init__(self, folder: Path, password: str = "") -> None:
        self.password = password
        options = ["--repl-diskless-sync-delay", "0"]
        options += ["--requirepass", password, "--masterauth", password] if password else []
        self.servers: list[RedisServer] = []
        self.sentinels: list[Sentinel] = []
        try:
            for name in ("one", "two"):
                (folder / name).mkdir()
                replica = ["--replicaof", f"127.0.0.1 {self.servers[0].port}"] if self.servers else []
                self.servers.append(RedisServer(folder / name, *options, *replica))
            self.sentinels += [Sentinel(folder, self.servers[0].port, password) for _ in range(3)]
            self._introduce()
        except BaseException:
            self.stop()
            raise

    @property
    def hosts(self) -> list[str]:
        """Return the sentinels as ``host:port``."""
        return [f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels]

    @property
    def url(self) -> str:
        """Return the broker URL in kombu's form."""
        login = f":{self.password}@" if self.password else ""
        return ";".join([f"sentinel://{login}{host}/0" for host in self.hosts])

    @property
    def master(self) -> RedisServer:
        """Return the server that the last sentinel names as the master."""
        with self.sentinels[-1].client() as client:
            port = client.sentinel_masters()[MASTER]["port"]
        return next(server for server in self.servers if server.port == port)

    def in_step(self) -> bool:
        """Return whether the replica has acknowledged everything that its master wrote."""
        with Redis(port=self.master.port, password=self.password or None) as client:
            state = client.info("replication")
        return bool(state["connected_slaves"] == 1 and state["slave0"]["offset"] == state["master_repl_offset"])

    def fail_over(self) -> None:
        """Make the replica the master by an orderly failover, and wait until the last sentinel names it."""
        before = self.master
        with self.sentinels[-1].client() as client:
            client.execute_command("SENTINEL", "FAILOVER", MASTER)
        wait_until(lambda: self.master is not before, "the sentinels name another master", 20)

    def stop(self) -> None:
        """End all sentinels and servers."""
        for sentinel in self.sentinels:
            sentinel.end(signal.SIGKILL)
        for server in self.servers:
            server.stop()

    def _introduce(self) -> None:
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                wait_until(lambda client=client: _answers(client), "a sentinel answers", 10)
                with suppress(ResponseError):  # before Redis 7.0 the periods are fixed
                    client.execute_command("SENTINEL", "DEBUG", *QUICK)
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                wait_until(lambda client=client: _knows_all(client), "a sentinel knows the others", 30)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisConnectionError:
        return False


def _knows_all(client: Redis) -> bool:
    state = client.sentinel_masters()[MASTER]
    return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)
