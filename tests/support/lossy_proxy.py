"""A TCP proxy that loses replies and cuts connections."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Thread


class LossyProxy:
    """Forward connections from a free port to a server, within a ``with`` block.

    Attributes:
        requests: how many chunks with ``EVALSHA`` went to the server.
        to_lose: how many of the next replies to them are dropped, each with its connection.
    """

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._acceptor = Thread(target=self._accept, daemon=True)
        self.port: int = self._listener.getsockname()[1]
        self.requests = 0
        self.to_lose = 0

    @property
    def url(self) -> str:
        """Return the Redis URL of database 0 behind the proxy."""
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> LossyProxy:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        _close(self._listener)  # ends the acceptor, which may have added a connection in the meantime
        self._acceptor.join(5)
        self.cut()

    def cut(self) -> None:
        """Close all current connections; accept new ones."""
        while self._sockets:
            _close(self._sockets.pop())

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                script = [False]  # whether the current request is a script of the store
                Thread(target=self._up, args=(client, server, script), daemon=True).start()
                Thread(target=self._down, args=(server, client, script), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, script: list[bool]) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if b"EVALSHA" in data:
                    script[0] = True
                    self.requests += 1
                server.sendall(data)
        _close(client, server)

    def _down(self, server: socket.socket, client: socket.socket, script: list[bool]) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if script[0] and self.to_lose:
                    self.to_lose -= 1
                    break
                script[0] = False
                client.sendall(data)
        _close(client, server)


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)  # close() alone does not end a recv() or accept() of another thread
        each.close()
