"""Counts that wait in memory while the store is down: their number is bounded, and none is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from celery import Celery, Task

from celery_health_bp import MonitoredTask, Settings
from celery_health_bp.counting.outcomes import STARTED
from celery_health_bp.counting.recorder import WAITING_FACTOR, Recorder
from celery_health_bp.stores import RedisStore
from tests.support.servers import RedisServer

CAP = 5
#: Series of one task that may wait: named customers, and ``other``.
BOUND = WAITING_FACTOR * CAP + 1


@pytest.fixture
def store(redis: RedisServer) -> Iterator[RedisStore]:
    """A store that keeps few customers apart."""
    opened = RedisStore.from_url(redis.url, Celery("upstream", broker=redis.url), Settings(max_customers=CAP))
    yield opened
    opened.close()


@pytest.fixture
def task() -> Task:
    """A monitored task."""
    app = Celery("upstream", broker="memory://", set_as_current=False)
    task: Task = app.task(name="job", base=MonitoredTask, shared=False)(job)
    return task


def job(customer_id: str) -> None:
    """Do nothing."""


def test_memory_is_bounded_while_the_store_is_down_and_no_count_is_lost(
    redis: RedisServer, store: RedisStore, task: Task
) -> None:
    """After an outage with 3,000 customers, two batches of at most 51 series have brought all 3,000 counts."""
    recorder = Recorder(Settings(max_customers=CAP, flush_interval_seconds=3600), store)
    redis.stop()
    for number in range(3000):
        recorder.ledger.count(STARTED, task.name, f"c{number}")
        if number % 100 == 0:
            assert not recorder.flush()
    waiting = recorder.ledger.copy()
    assert len(waiting.counters) == BOUND
    redis.start()
    assert recorder.flush()  # the batch that failed first
    assert recorder.flush()  # the counts since then
    recorder.stop()
    found = Counter[str]()
    for series, number in store.totals().counters.items():
        found[series.customer_id] += number
    assert sum(found.values()) == 3000
    assert set(found) == {*(f"c{number}" for number in range(CAP)), "other"}
