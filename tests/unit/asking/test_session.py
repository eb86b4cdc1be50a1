"""A control channel that stays open between checks, on the memory transport."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from celery import Celery

from celery_health_bp.asking.control_channel import ControlChannel
from celery_health_bp.asking.replies import facts_of
from celery_health_bp.asking.session import Session
from celery_health_bp.errors import BrokerUnreachable, RemoteControlOff


class Exchange:
    """Remembers the channels that it was called with, and raises the given errors, one per call."""

    def __init__(self, *errors: Exception | None) -> None:
        self.channels: list[ControlChannel] = []
        self._errors = list(errors)

    def __call__(self, channel: ControlChannel, deadline: float) -> None:
        """Raise the next error."""
        self.channels.append(channel)
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error


@pytest.fixture
def memory_app() -> Celery:
    """An app without a server."""
    app = Celery("session", broker="memory://", set_as_current=False)
    app.conf.broker_transport_options = {"polling_interval": 0.01}
    return app


@pytest.fixture
def session(memory_app: Celery) -> Iterator[Session]:
    """A session of the app."""
    with closing(Session(memory_app, lambda node, command, reply: (node, facts_of(node, command, reply)))) as session:
        yield session


def test_the_channel_is_reused(session: Session) -> None:
    """The second exchange gets the channel of the first, and run() returns it."""
    exchange = Exchange()
    first, second = session.run(exchange, 1), session.run(exchange, 1)
    assert first is second
    assert exchange.channels == [first, second]


def test_a_lost_connection_is_replaced_once(session: Session) -> None:
    """An exchange that fails on a reused channel is repeated on a new one; a second failure is raised."""
    session.run(Exchange(), 1)
    exchange = Exchange(ConnectionResetError())
    assert session.run(exchange, 1) is exchange.channels[1] is not exchange.channels[0]
    with pytest.raises(BrokerUnreachable, match="closed the connection"):
        session.run(Exchange(ConnectionResetError(), ConnectionResetError()), 1)


def test_a_new_channel_is_not_replaced(session: Session) -> None:
    """An exchange that fails on the first channel is not repeated."""
    exchange = Exchange(ConnectionResetError())
    with pytest.raises(BrokerUnreachable):
        session.run(exchange, 1)
    assert len(exchange.channels) == 1


def test_no_channel_is_opened_without_remote_control(memory_app: Celery, session: Session) -> None:
    """With remote control off, the exchange is not called."""
    memory_app.conf.worker_enable_remote_control = False
    exchange = Exchange()
    with pytest.raises(RemoteControlOff):
        session.run(exchange, 1)
    assert exchange.channels == []
