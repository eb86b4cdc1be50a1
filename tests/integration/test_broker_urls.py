"""What a broker URL is called in a sentence, and which URLs are refused by what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask

from tests.support.network import silent_port
from tests.support.nodes import ScriptedNode
from tests.support.probes import probe
from tests.support.servers import RedisServer, free_port


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
def test_of_a_list_the_first_broker_that_can_be_reached_is_asked(
    silent: bool, redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """With the first server of a list away, a fresh process answers 200 in time."""
    with ScriptedNode(celery_app, "node1@testhost"), silent_port() as port:
        first = f"redis://127.0.0.1:{port if silent else free_port()}/0"
        found = probe(make_app(Celery(broker=f"{first};{redis.url}"), metrics_store="control"))
    assert (found.status, found.workers) == (200, ["node1@testhost"])
    assert found.seconds < 2


def test_of_a_list_each_failure_is_told(make_app: Callable[..., Flask]) -> None:
    """When no server of a list can be reached, the error says of each why, in time."""
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
