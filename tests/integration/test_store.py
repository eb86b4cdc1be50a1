"""The way of the counts through Redis: exactly once, also when Redis or the network fails."""

from __future__ import annotations

from typing import Any

from celery import Celery

from celery_health_bp import Settings
from celery_health_bp.counts import Counts, Series
from celery_health_bp.stores import RedisStore
from tests.support.servers import RedisServer


def store(url: str, **settings: Any) -> RedisStore:
    """A store as a worker with these settings opens it."""
    return RedisStore.from_url(url, Celery("upstream", broker=url), Settings(**settings))


def batch(customer: str, number: int = 1) -> Counts:
    """So many starts for a customer."""
    counts = Counts()
    counts.counters[Series("started", "job", "", customer)] = number
    return counts


def test_fleets_with_different_prefixes_do_not_mix(redis: RedisServer) -> None:
    """Two fleets in one Redis database each read back what their own workers added."""
    ours, theirs = store(redis.url, metrics_key_prefix="ours"), store(redis.url, metrics_key_prefix="theirs")
    ours.add("worker", 1, batch("a", 1))
    theirs.add("worker", 1, batch("a", 5))
    assert list(ours.totals().counters.values()) == [1]
    assert list(theirs.totals().counters.values()) == [5]
    ours.close()
    theirs.close()


def test_the_cap_of_customers_is_the_whole_fleets(redis: RedisServer) -> None:
    """Of 1,001 customers that two workers saw the last one is ``other`` and stays it; a known one stays itself."""
    first, second = store(redis.url), store(redis.url)
    for number in range(1000):
        (first if number % 2 else second).add(f"writer{number % 2}", number + 1, batch(f"c{number}"))
    for sequence, worker in enumerate((first, second, first), start=2001):
        worker.add("late", sequence, batch("c1000"))
    second.add("late", 2010, batch("c7"))
    counters = first.totals().counters
    first.close()
    second.close()
    assert len(counters) == 1001
    assert counters[Series("started", "job", "", "other")] == 3
    assert counters[Series("started", "job", "", "c7")] == 2
