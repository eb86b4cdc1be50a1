"""Scrapes while a part cannot be read: /metrics is 200 without that part."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask

from tests.support.exposition import Exposition
from tests.support.network import silent_port
from tests.support.nodes import REPLIES, ScriptedNode
from tests.support.servers import RabbitServer, RedisServer


@pytest.mark.deadline
def test_a_list_of_silent_stores_does_not_delay_a_scrape(redis: RedisServer, make_app: Callable[..., Flask]) -> None:
    """With two silent servers in ``metrics_store``, /metrics is 200 by the deadline, without job totals."""
    with silent_port() as first, silent_port() as second, Celery(broker=redis.url, set_as_current=False) as app:
        store = f"redis://127.0.0.1:{first}/0;redis://127.0.0.1:{second}/0"
        client = make_app(app, metrics_store=store, timeout_seconds=0.5).test_client()
        began = time.monotonic()
        answer = client.get("/metrics")
        assert time.monotonic() - began < 1.2  # workers and store, each 0.5 s and a tenth of it
    assert answer.status_code == 200
    assert 'celery_health_scrape_success{source="store"} 0.0' in answer.text


def test_an_invalid_host_name_of_the_store_does_not_fail_a_scrape(
    redis: RedisServer, make_app: Callable[..., Flask]
) -> None:
    """A host name with an empty label, which raises no error of redis-py, leaves /metrics at 200."""
    with Celery(broker=redis.url, set_as_current=False) as app:
        answer = make_app(app, metrics_store="redis://redis..svc/0", timeout_seconds=1).test_client().get("/metrics")
    assert answer.status_code == 200
    assert 'celery_health_scrape_success{source="store"} 0.0' in answer.text


def test_an_unknown_length_makes_no_series(rabbit: RabbitServer, make_app: Callable[..., Flask]) -> None:
    """A queue that RabbitMQ does not have has no length, and the scrape reports its queues as failed."""
    app = make_app(Celery(broker=rabbit.url), queues=("nowhere",), timeout_seconds=0.5)
    found = Exposition(app.test_client().get("/metrics").text)
    assert list(found.series("celery_queue_length")) == []
    assert found.get("celery_health_scrape_success", source="queues") == 0


def test_unknown_consumers_make_no_series(celery_app: Celery, make_app: Callable[..., Flask]) -> None:
    """If a worker does not report its queues, no queue has a number of consumers."""
    with ScriptedNode(celery_app, "a@t", {**REPLIES, "active_queues": None}):
        found = Exposition(make_app(celery_app).test_client().get("/metrics").text)
    assert found.get("celery_workers") == 1
    assert list(found.series("celery_queue_consumers")) == []
