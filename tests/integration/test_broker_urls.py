"""Unusual broker URLs: lists of servers, invalid ones, and a custom transport."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask
from kombu.transport import memory

from tests.support.network import silent_port
from tests.support.nodes import ScriptedNode
from tests.support.probes import probe
from tests.support.servers import RedisServer, free_port


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
def test_the_first_reachable_broker_of_a_list_is_used(
    silent: bool, redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """With the first server refusing or silent, a new process is healthy by the deadline."""
    with ScriptedNode(celery_app, "node1@testhost"), silent_port() as port:
        first = f"redis://127.0.0.1:{port if silent else free_port()}/0"
        found = probe(make_app(Celery(broker=f"{first};{redis.url}"), metrics_store="control"))
    assert (found.status, found.workers) == (200, ["node1@testhost"])
    assert found.seconds < 2


def test_the_error_names_each_broker_of_a_list(make_app: Callable[..., Flask]) -> None:
    """When no server of a list can be reached, the error gives the reason of each, by the deadline."""
    first = free_port()
    with silent_port() as second:
        app = Celery(broker=[f"redis://127.0.0.1:{first}/0", f"redis://:s3cr3t@127.0.0.1:{second}/0"])
        found = probe(make_app(app, metrics_store="control"))
    assert found.status == 503
    assert found.seconds < 2.4
    assert found.error == (
        f"Broker redis://127.0.0.1:{first} refused the connection; "
        f"Broker redis://127.0.0.1:{second} did not answer in time"
    )


URLS = {
    "an invalid port": ("redis://127.0.0.1:port/0", "The broker URL cannot be parsed"),
    "a Unix socket": ("redis+socket:///nowhere/redis.sock", "on a Unix socket"),
    "an unknown transport": ("nonsense://127.0.0.1", "Celery has no transport for nonsense:// brokers"),
}


@pytest.mark.leaves(
    "descriptors",
    reason="redis-py 4.6 leaves it to the garbage collector to close a Unix socket that it cannot connect",
)
@pytest.mark.parametrize(("url", "error"), URLS.values(), ids=URLS)
def test_an_unusable_url_has_its_own_error(url: str, error: str, make_app: Callable[..., Flask]) -> None:
    """An invalid port, a Unix socket and an unknown transport are 503, each with its own error."""
    found = probe(make_app(Celery(broker=url), metrics_store="control"))
    assert found.status == 503
    assert error in found.error


class OwnTransport(memory.Transport):
    """A transport class of the user."""

    driver_type = driver_name = "own"


def test_a_custom_transport_is_used(make_app: Callable[..., Flask]) -> None:
    """With a transport class of the user a check reports missing workers, not a broker error."""
    app = Celery(broker_transport=f"{__name__}:OwnTransport", broker_transport_options={"polling_interval": 0.01})
    assert probe(make_app(app, metrics_store="control", timeout_seconds=0.3)).error == "No active Celery workers found"
