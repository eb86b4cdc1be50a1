"""Network faults: a port that accepts and never answers, a proxy that stops forwarding."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def silent_port() -> Iterator[int]:
    """Listen on a port where the kernel accepts connections and no process ever answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        yield listener.getsockname()[1]


class Proxy:
    """Forward connections to a port of this host, until ``drop`` holds everything back.

    Held data arrive after ``forward``, as TCP's retransmissions would.
    """

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        self._forwarding = threading.Event()
        self._forwarding.set()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def drop(self) -> None:
        """Hold back all data from now on."""
        self._forwarding.clear()

    def forward(self) -> None:
        """Forward again, held data first."""
        self._forwarding.set()

    def cut(self) -> None:
        """Close all current connections; accept new ones."""
        while self._sockets:
            _close(self._sockets.pop())

    def close(self) -> None:
        """Close every socket."""
        self.forward()
        self.cut()
        _close(self._listener)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._forwarding.wait()
                sink.sendall(data)
            self._forwarding.wait()
            sink.shutdown(socket.SHUT_WR)


def _close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
