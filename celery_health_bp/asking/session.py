"""A control channel that stays open between checks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..errors import BrokerUnreachable, CheckError
from .broker import IO_TIMEOUT_SECONDS, blocked, require_remote_control, unreachable
from .control_channel import ControlChannel, Reader
from .place import broker_place

#: Sends commands and reads replies; called with the channel and the deadline (of ``time.monotonic``).
Exchange = Callable[[ControlChannel, float], None]


class Session:
    """Opens a control channel on first use, reuses it, and replaces it when it breaks. Not thread-safe.

    Arguments:
        app: the Celery app.
        read: converts a reply, see ``Reader``.
    """

    def __init__(self, app: Any, read: Reader) -> None:
        self._app = app
        self._read = read
        self._channel: ControlChannel | None = None

    def run(self, exchange: Exchange, timeout_seconds: float) -> ControlChannel:
        """Call ``exchange`` with an open channel; once more with a new one if a reused connection was lost.

        Arguments:
            exchange: see ``Exchange``.
            timeout_seconds: deadline of the whole call.

        Returns:
            The channel, with the replies.

        Raises:
            RemoteControlOff: the app's configuration or transport has no remote control.
            BrokerUnreachable: the broker cannot be used, or blocks publishers.
        """
        require_remote_control(self._app)
        deadline = time.monotonic() + timeout_seconds
        reused = self._channel is not None
        try:
            return self._attempt(exchange, deadline, timeout_seconds)
        except BrokerUnreachable:
            if not reused or time.monotonic() > deadline:
                raise
        return self._attempt(exchange, deadline, timeout_seconds)

    def close(self) -> None:
        """Delete the reply queue and close the connection."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _attempt(self, exchange: Exchange, deadline: float, timeout_seconds: float) -> ControlChannel:
        try:
            channel = self._ready_channel(timeout_seconds)
            exchange(channel, deadline)
        except CheckError:
            self._drop()
            raise
        except Exception as exc:  # each transport raises its own classes
            if self._channel is not None and isinstance(exc, self._channel.connection.channel_errors):
                self.close()  # the broker refused one operation; the connection still works
            else:
                self._drop()
            raise unreachable(broker_place(self._app), exc) from exc
        if channel.blocked:
            self._drop()
            raise blocked(broker_place(self._app))
        return channel

    def _ready_channel(self, timeout_seconds: float) -> ControlChannel:
        if self._channel is not None and not self._channel.begin():
            self.close()
        if self._channel is None:
            # Connecting, and one more failing call after it, must fit into the deadline.
            self._channel = ControlChannel(self._app, min(IO_TIMEOUT_SECONDS, 0.4 * timeout_seconds), self._read)
            self._channel.begin()
        return self._channel

    def _drop(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.drop()
