"""Bad networks: a port that accepts and stays silent, a proxy that stops forwarding."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def silent_port() -> Iterator[int]:
    """A port where the kernel accepts connections and nobody ever says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        yield listener.getsockname()[1]


class Proxy:
    """Forwards connections to a port on this host until it is told to drop everything.

    What was held back arrives when it forwards again, as TCP's repetitions would.
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
        """From now on nothing gets through."""
        self._forwarding.clear()

    def forward(self) -> None:
        """The network is back."""
        self._forwarding.set()

    def cut(self) -> None:
        """Close the connections that there are; new ones get through."""
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
