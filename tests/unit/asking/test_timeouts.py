"""Timeouts of kombu's transports."""

from __future__ import annotations

from typing import Any

import pytest
from kombu.transport import resolve_transport
from kombu.transport.redis import Transport as RedisTransport

from celery_health_bp.asking.timeouts import timeout_options, without_retries


def options_for(scheme: str, options: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the options of a transport for a timeout of 1.5 s."""
    return timeout_options(resolve_transport(scheme), options or {}, 1.5)


@pytest.mark.parametrize(
    ("scheme", "names"),
    [("redis", ("socket_timeout", "socket_connect_timeout")), ("amqp", ("read_timeout", "write_timeout"))],
)
def test_a_connection_waits_no_longer_than_the_timeout(scheme: str, names: tuple[str, ...]) -> None:
    """Connect, read and write are bounded, and kombu does not pause before its retry."""
    found = options_for(scheme)
    assert [found[name] for name in names] == [1.5, 1.5]
    assert (found["max_retries"], found["interval_start"], found["interval_max"]) == (1, 0, 0)


def test_a_check_does_not_restore_messages_of_others() -> None:
    """Ack emulation of the Redis transport is off, also if the app has it on."""
    assert options_for("redis", {"ack_emulation": True})["ack_emulation"] is False


def test_each_sentinel_gets_a_third_of_the_timeout() -> None:
    """The user's options for sentinels, such as a password, are kept; their timeouts are not."""
    found = options_for("redis", {"sentinel_kwargs": {"password": "p", "socket_timeout": 60}})["sentinel_kwargs"]
    assert (found["password"], found["socket_timeout"], found["socket_connect_timeout"]) == ("p", 0.5, 0.5)


def test_sqs_keeps_the_users_client_options() -> None:
    """boto3 waits for the timeout and does not retry, unless the user configures it otherwise."""
    transport = type("Transport", (), {"driver_type": "sqs"})
    found = timeout_options(transport, {"client-config": {"read_timeout": 9}}, 1.5)["client-config"]
    assert found == {"connect_timeout": 1.5, "read_timeout": 9, "retries": {"total_max_attempts": 1}}


@pytest.mark.parametrize(("options", "interval"), [({}, 0.01), ({"polling_interval": 0.5}, 0.5)])
def test_memory_polls_quickly_by_default(options: dict[str, Any], interval: float) -> None:
    """The interval of the user wins."""
    assert options_for("memory", options)["polling_interval"] == interval


def test_other_transports_get_no_options() -> None:
    """Options that a transport does not know could be errors."""
    assert timeout_options(type("Transport", (), {"driver_type": "sqla"}), {"echo": True}, 1.5) == {}


def test_the_redis_transport_without_retries_is_created_once() -> None:
    """It is a subclass of the given transport, and the same one each time."""
    found = without_retries(RedisTransport)
    assert issubclass(found, RedisTransport)
    assert issubclass(found.Channel, RedisTransport.Channel)
    assert without_retries(RedisTransport) is found
