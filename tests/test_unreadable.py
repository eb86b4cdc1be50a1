"""What cannot be read in the store or in a worker's reply is left out and counted: a scrape never fails by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery
from flask import Flask

from celery_health_bp import MonitoredTask
from celery_health_bp.counting.ledger import Ledger, Outcome
from celery_health_bp.counts import Counts, Histogram, Series

from .exposition import JOB, Exposition
from .servers import RedisServer

TOTALS = "{celery_health}:totals"
UNREADABLE = "celery_health_store_unreadable_fields"

#: Fields that this package does not write, and their values.
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
    """Fields that cannot be read hide no other: the scrape is a 200 with the rest, says how many, and the log once."""
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


def test_names_with_nul_and_surrogates_are_escaped_where_they_are_counted(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    """A run by ``.apply()`` of a task whose name no field can hold is shown with ``?``."""
    caplog.set_level("CRITICAL", "celery.app.trace")  # pytest-xdist cannot carry a log line with a lone surrogate
    app = Celery("upstream", broker=redis.url, task_cls=MonitoredTask, set_as_current=False)

    @app.task(name="jo\0b\ud800", shared=False)
    def job() -> None:
        raise ValueError

    job.apply()
    found = Exposition(make_app(app, timeout_seconds=0.3).test_client().get("/metrics").text)
    assert found.get(f"{JOB}_failed_total", task_name="jo?b?", error_type="ValueError", customer_id="unknown") == 1
    assert found.get(UNREADABLE) == 0


FINE = Counts(internal_errors=2)
FINE.counters[Series("started", "job", "", "a")] = 5
FINE.histograms["duration", "job"] = Histogram(Counter({0.1: 1, float("inf"): 2}), 61.5)

#: Rows of a reply in the place of one that is fine.
ODD_ROWS: dict[str, tuple[str, Any]] = {
    "no row": ("counters", 7),
    "too short": ("counters", ["started", "job", 1]),
    "too long": ("counters", ["started", "job", "", "a", "b", 1]),
    "a name that is none": ("counters", ["started", None, "", "a", 1]),
    "a name with NUL": ("counters", ["started", "jo\0b", "", "a", 1]),
    "a lone surrogate": ("counters", ["started", "job", "", "\ud800", 1]),
    "no number": ("counters", ["started", "job", "", "b", None]),
    "not a number": ("counters", ["started", "job", "", "b", float("nan")]),
    "below zero": ("counters", ["started", "job", "", "b", -1]),
    "an endless number": ("counters", ["started", "job", "", "b", float("inf")]),
    "an endless sum": ("sums", ["queue_wait", "job", float("inf")]),
    "a bound that is none": ("buckets", ["queue_wait", "job", "often", 1]),
    "a huge number": ("buckets", ["queue_wait", "job", "0.1", 10**400]),
}


@pytest.mark.parametrize("case", ODD_ROWS)
def test_an_odd_row_of_a_reply_is_left_out_and_counted(case: str) -> None:
    """A worker's reply with one row that cannot be read loses that row alone."""
    name, row = ODD_ROWS[case]
    rows = FINE.to_rows()
    rows[name].append(row)
    assert Counts.from_rows(rows) == replace(FINE, unreadable=1)


def test_a_histogram_is_shown_whole_or_not_at_all() -> None:
    """With one bucket that cannot be read a histogram is left out: its other numbers would be wrong together."""
    rows = FINE.to_rows()
    rows["buckets"][0][3] = "x"
    assert Counts.from_rows(rows) == Counts(FINE.counters, {}, 2, unreadable=1)


def test_a_detail_is_escaped_too() -> None:
    """The name of an error that arrived as text may hold anything."""
    ledger = Ledger((1.0,), 10)
    for _ in range(2):
        ledger.count(Outcome("failed", "Odd\0\ud800"), "job", "a")
    assert ledger.take().counters == {Series("failed", "job", "Odd??", "a"): 2}


def test_series_are_read_back_as_they_were_counted() -> None:
    """What a ledger counted comes back from its rows the same."""
    ledger = Ledger((0.1, 1.0), 10)
    for seconds in (0.05, 0.5, 5.0):
        ledger.count(Outcome("completed"), "job", "a", seconds)
    ledger.internal_error()
    assert Counts.from_rows(ledger.copy().to_rows()) == ledger.take()
