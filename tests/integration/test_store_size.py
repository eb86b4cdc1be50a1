"""Many series: a batch is sent in parts, and a scrape reads all totals by its deadline or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from celery import Celery
from flask import Flask

from celery_health_bp import Settings
from celery_health_bp.counting.outcomes import COMPLETED, STARTED
from celery_health_bp.counting.recorder import Recorder
from celery_health_bp.counts import Counts, Series
from celery_health_bp.errors import StoreUnavailable
from celery_health_bp.stores import MAX_BATCH, Added, RedisStore
from celery_health_bp.stores.redis import FIELDS_AT_ONCE, MAX_FIELDS
from tests.support.exposition import JOB, Exposition
from tests.support.lossy_proxy import LossyProxy
from tests.support.servers import RedisServer

TOTALS = "{celery_health}:totals"
CUSTOMERS = 3 * MAX_BATCH


def store_at(url: str) -> RedisStore:
    """Open the store of a worker."""
    return RedisStore.from_url(url, Celery(broker=url), Settings(max_customers=CUSTOMERS))


@pytest.fixture
def store(redis: RedisServer) -> Iterator[RedisStore]:
    """The store on the test's Redis."""
    opened = store_at(redis.url)
    yield opened
    opened.close()


def fill(redis: RedisServer, fields: int) -> None:
    """Write this number of totals."""
    source = "for n = 1, ARGV[1] do redis.call('HSET', KEYS[1], 'started\\0job\\0\\0' .. n, n) end"
    with redis.client() as client:
        client.eval(source, 1, TOTALS, fields)


def counted(recorder: Recorder) -> None:
    """Count one start and one end for each customer."""
    for number in range(CUSTOMERS):
        recorder.ledger.count(STARTED, "job", f"c{number}", 0.1)
        recorder.ledger.count(COMPLETED, "job", f"c{number}", 2.0)


def test_a_large_batch_is_sent_in_parts_each_added_once(redis: RedisServer, store: RedisStore) -> None:
    """Each of 6,000 series arrives once per count, although the reply to the first part is lost."""
    store.add("another", 0, Counts())  # loads the script, so that the next request is EVALSHA
    with LossyProxy(redis.port) as proxy:
        recorder = Recorder(Settings(flush_interval_seconds=3600, max_customers=CUSTOMERS), store_at(proxy.url))
        counted(recorder)
        proxy.to_lose = 1
        assert not recorder.flush()  # the first part was added, its reply lost
        assert len(store.totals()) == MAX_BATCH
        counted(recorder)
        recorder.stop()
        recorder.stop()
    found = store.totals()
    assert set(found.counters.values()) == {2}
    assert len(found.counters) == 2 * CUSTOMERS
    assert {histogram.buckets.total() for histogram in found.histograms.values()} == {2 * CUSTOMERS}


def test_a_batch_with_new_names_only_is_added(redis: RedisServer) -> None:
    """With the default caps the largest batch is added whole, although each of its names is new to Redis."""
    store = RedisStore.from_url(redis.url, Celery("upstream", broker=redis.url), Settings())
    counts = Counts()
    for number in range(MAX_BATCH):
        counts.counters[Series("failed", f"job{number}", f"Error{number}", f"c{number}")] = 1
    store.add("writer", 1, counts)
    assert store.totals() == counts
    store.close()


class Interrupted(RedisStore):
    """A store that raises ``KeyboardInterrupt`` after the third batch has been added."""

    calls = 0

    def add(self, writer: str, sequence: int, counts: Counts) -> Added:
        """Add a batch."""
        added = super().add(writer, sequence, counts)
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return added


def test_an_interruption_between_two_parts_loses_no_count(redis: RedisServer) -> None:
    """A process that is interrupted after the third of six parts sends the rest when it stops."""
    settings = Settings(flush_interval_seconds=3600, max_customers=CUSTOMERS)
    store = Interrupted.from_url(redis.url, Celery(broker=redis.url), settings)
    recorder = Recorder(settings, store)
    counted(recorder)
    with pytest.raises(KeyboardInterrupt):
        recorder.flush()
    recorder.stop()
    found = store.totals()
    store.close()
    assert set(found.counters.values()) == {1}
    assert len(found.counters) == 2 * CUSTOMERS


def test_totals_of_several_reads_are_complete(redis: RedisServer, store: RedisStore) -> None:
    """Each of more fields than one call reads comes back with its own number."""
    fill(redis, 2 * FIELDS_AT_ONCE)
    found = store.totals(60).counters
    assert len(found) == 2 * FIELDS_AT_ONCE
    assert all(series.customer_id == str(number) for series, number in found.items())


def test_too_many_totals_are_not_read(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    """A scrape of more than ``MAX_FIELDS`` totals has no job series, reports a failed store, and logs the reason."""
    fill(redis, MAX_FIELDS + 1)
    web = make_app(celery_app, timeout_seconds=0.3).test_client()
    found = Exposition(web.get("/metrics").text)
    assert found.get("celery_health_scrape_success", source="store") == 0
    assert list(found.series(f"{JOB}_started_total")) == []
    assert "has 200,001 fields, and a scrape reads at most 200,000: lower max_customers" in caplog.text


def test_totals_that_take_too_long_are_an_error(redis: RedisServer, store: RedisStore) -> None:
    """Totals that cannot be read by the deadline are an error, without a part of them."""
    fill(redis, 2 * FIELDS_AT_ONCE)
    with pytest.raises(StoreUnavailable, match=r"20,000 fields of .* could not be read within 0\.001 s"):
        store.totals(0.001)
