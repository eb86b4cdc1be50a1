"""Unreadable totals in the store are left out and counted, and do not fail a scrape."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask

from celery_health_bp import MonitoredTask
from tests.support.exposition import JOB, Exposition
from tests.support.servers import RedisServer

TOTALS = "{celery_health}:totals"
UNREADABLE = "celery_health_store_unreadable_fields"

#: Fields that this package does not write -> their values.
ODD: dict[bytes, bytes] = {
    b"": b"1",
    b"started": b"1",
    b"started\0job\0": b"1",
    b"started\0jo\0b\0\0a": b"1",  # as version 0.1 wrote a name with NUL
    b"started\0job\xff\0\0a": b"1",
    b"started\0job\0\0\xed\xa0\x80": b"1",  # a lone surrogate
    b"started\0job\0\0text": b"many",
    b"started\0job\0\0fraction": b"1.5",
    b"started\0job\0\0negative": b"-1",
    b"started\0job\0\0nan": b"nan",
    b"started\0job\0\0huge": b"9" * 400,
    b"started\0job\0\0longer": b"9" * 5000,
    b"started\0job\0\0empty": b"",
    b"duration\0nan\0sum\0": b"nan",
    b"duration\0infinite\0sum\0": b"inf",
    b"duration\0bound\0about 5\0": b"1",
    b"duration\0no bound\0nan\0": b"1",
    b"duration\0below\0-1.0\0": b"1",
    b"queue_wait\0number\0000.1\0": b"x",
    b"internal_errors\0\0\0": b"x",
}


def test_odd_fields_are_left_out_and_counted(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    """A scrape with unreadable totals is 200, has the others and the number of unreadable ones, and logs them once."""
    with redis.client() as client:
        client.hset(TOTALS, mapping={**ODD, b"started\0job\0\0fine": b"7", b"of a newer version\0\0\0": b"x"})
    web = make_app(celery_app, timeout_seconds=0.3).test_client()
    answers = [web.get("/metrics") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    found = Exposition(answers[1].text)
    assert list(found.series(f"{JOB}_started_total")) == [({"task_name": "job", "customer_id": "fine"}, 7)]
    assert list(found.series(f"{JOB}_duration_seconds_count")) == []
    assert found.get(UNREADABLE) == len(ODD)
    assert found.get("celery_health_scrape_success", source="store") == 1
    assert caplog.text.count("cannot be read") == 1


def test_names_with_nul_and_surrogates_are_escaped(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    """A task name with NUL and a lone surrogate, counted by ``.apply()``, has ``?`` instead of both."""
    caplog.set_level("CRITICAL", "celery.app.trace")  # pytest-xdist cannot carry a log line with a lone surrogate
    app = Celery("upstream", broker=redis.url, task_cls=MonitoredTask, set_as_current=False)

    @app.task(name="jo\0b\ud800", shared=False)
    def job() -> None:
        raise ValueError

    job.apply()
    found = Exposition(make_app(app, timeout_seconds=0.3).test_client().get("/metrics").text)
    assert found.get(f"{JOB}_failed_total", task_name="jo?b?", error_type="ValueError", customer_id="unknown") == 1
    assert found.get(UNREADABLE) == 0
