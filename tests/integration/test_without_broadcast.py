"""Without remote control, queue lengths are still reported."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery
from flask import Flask

from tests.support.probes import probe
from tests.support.servers import RedisServer, free_port

OFF = "Whether workers run cannot be known"
LENGTHS = {'celery_queue_length{queue_name="celery"} 3.0', 'celery_health_scrape_success{source="queues"} 1.0'}
NO_WORKERS = 'celery_health_scrape_success{source="workers"} 0.0'


def test_lengths_are_reported_without_remote_control(redis: RedisServer, make_app: Callable[..., Flask]) -> None:
    """With ``worker_enable_remote_control = False`` lengths are reported, and one above the threshold has advice."""
    with Celery("tenant", broker=redis.url, set_as_current=False) as celery_app:
        celery_app.conf.worker_enable_remote_control = False
        for _ in range(3):
            celery_app.send_task("tenant.work")
        app = make_app(celery_app, queue_length_threshold=2)
        found = probe(app)
        assert (found.status, found.body["queues"]) == (503, {"celery": 3})
        assert OFF in found.error
        assert "Queue celery holds 3 messages (threshold 2, consumers: unknown)" in found.advice
        assert {*LENGTHS, NO_WORKERS} <= set(app.test_client().get("/metrics").text.splitlines())


def test_an_unreachable_broker_is_reported_before_remote_control(make_app: Callable[..., Flask]) -> None:
    """With the broker down and remote control off, the error names the broker, and no length is reported."""
    with Celery("tenant", broker=f"redis://127.0.0.1:{free_port()}/0", set_as_current=False) as celery_app:
        celery_app.conf.worker_enable_remote_control = False
        app = make_app(celery_app)
        found = probe(app)
        assert "refused the connection" in found.error
        assert found.body["queues"] == {"celery": -1}
        text = app.test_client().get("/metrics").text
        assert 'celery_health_scrape_success{source="queues"} 0.0' in text
        assert "celery_queue_length" not in text
