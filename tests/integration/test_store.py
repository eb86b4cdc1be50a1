"""Totals in Redis: key prefixes, and the cap of customers."""

from __future__ import annotations

from typing import Any

from celery import Celery

from celery_health_bp import Settings
from celery_health_bp.counts import Counts, Series
from celery_health_bp.stores import RedisStore
from tests.support.servers import RedisServer


def store(url: str, **settings: Any) -> RedisStore:
    """Open the store of a worker with these settings."""
    return RedisStore.from_url(url, Celery("upstream", broker=url), Settings(**settings))


def batch(customer: str, number: int = 1) -> Counts:
    """Return counts with this number of starts for a customer."""
    counts = Counts()
    counts.counters[Series("started", "job", "", customer)] = number
    return counts


def test_fleets_with_different_prefixes_do_not_mix(redis: RedisServer) -> None:
    """Two fleets in one Redis database read the totals of their own workers only."""
    ours, theirs = store(redis.url, metrics_key_prefix="ours"), store(redis.url, metrics_key_prefix="theirs")
    ours.add("worker", 1, batch("a", 1))
    theirs.add("worker", 1, batch("a", 5))
    assert list(ours.totals().counters.values()) == [1]
    assert list(theirs.totals().counters.values()) == [5]
    ours.close()
    theirs.close()


def test_the_cap_of_customers_holds_for_the_fleet(redis: RedisServer) -> None:
    """The 1,001st customer of two workers counts as ``other``, each time, and a known one keeps its name."""
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
