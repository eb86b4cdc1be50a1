"""Labels of any value: the exposition stays valid, and the number of series is bounded in the fleet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from celery_health_bp import Settings
from celery_health_bp.counting.customers import label_value
from celery_health_bp.counting.ledger import Ledger
from celery_health_bp.counting.outcomes import STARTED
from celery_health_bp.counts import MAX_ERROR_TYPES
from celery_health_bp.stores import MAX_BATCH, RedisStore
from celery_health_bp.web.collector import job_families
from tests.support.error_types import counts_of, generated, number_of_types
from tests.support.exposition import JOB, Exposition
from tests.support.servers import RedisServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for all examples, each of which has its own key prefix."""
    redis = RedisServer(tmp_path_factory.mktemp("labels"))
    yield redis
    redis.stop()


class Hostile(str):
    """A string whose ``str()`` raises."""

    def __str__(self) -> str:
        raise RuntimeError("no")


anything = st.one_of(
    st.text(st.characters(codec=None, exclude_categories=())),
    st.sampled_from(
        [
            "",
            "\n",
            '"',
            "\\",
            "\\n",
            "\0",
            "\ud800",
            "a\udfffb",
            "__name__",
            "x" * 1_000_000,
            "\r\n# EOF",
            "other",
            '"} 1',
        ]
    ),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.binary(),
    st.uuids(),
    st.lists(st.integers()),
    st.dictionaries(st.text(), st.integers()),
    st.sampled_from([10**5000, Hostile("x"), object()]),
)


class Fixed(Collector):
    """A collector that returns the given families."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """Return the families."""
        return self._families


def exposed(server: RedisServer, customers: list[str], **settings: Any) -> Exposition:
    """Count one start for each customer, send the counts to Redis, and return the exposition of its totals."""
    made = Settings(metrics_key_prefix=uuid4().hex, **settings)
    ledger = Ledger(made.duration_buckets_seconds, 10 * made.max_customers)
    for customer in customers:
        ledger.count(STARTED, "job", customer)
    store = RedisStore.from_url(server.url, Celery("upstream", broker=server.url), made)
    store.add("writer", 1, ledger.take())
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Fixed(list(job_families([(None, store.totals())], "upstream", made.duration_buckets_seconds))))
    store.close()
    return Exposition(generate_latest(registry).decode())


@settings(deadline=None)  # an example waits for Redis
@given(values=st.lists(anything, max_size=12))
def test_no_value_breaks_or_grows_the_exposition(server: RedisServer, values: list[Any]) -> None:
    """Prometheus's parser reads each value as one label of at most 64 characters, and each attempt is counted."""
    labels = [label_value(value) for value in values]
    found = {labels["customer_id"]: number for labels, number in exposed(server, labels).series(f"{JOB}_started_total")}
    assert found == {label: labels.count(label) for label in labels}
    assert all(len(label) <= 64 for label in found)


@settings(deadline=None)
@given(customers=st.lists(st.sampled_from([f"c{number}" for number in range(8)]), max_size=40))
def test_the_cap_holds_for_any_order_of_customers(server: RedisServer, customers: list[str]) -> None:
    """With a cap of three, at most three names stand beside ``other``, and each attempt is counted."""
    found = exposed(server, customers, max_customers=3)
    names = {labels["customer_id"] for labels, _ in found.series(f"{JOB}_started_total")}
    assert len(names - {"other"}) <= 3
    assert found.total(f"{JOB}_started_total") == len(customers)


def test_the_number_of_error_types_is_capped_in_the_fleet(server: RedisServer) -> None:
    """2,000 exception classes of three workers make 100 types and ``other``, and each attempt is counted."""
    made = Settings(metrics_key_prefix=uuid4().hex)
    store = RedisStore.from_url(server.url, Celery("upstream", broker=server.url), made)
    for writer, numbers in (("one", range(1000)), ("two", range(500, 1500)), ("three", range(1000, 2000))):
        for sequence, part in enumerate(counts_of(generated(numbers), 10).parts(MAX_BATCH), 1):
            store.add(writer, sequence, part)
    found = store.totals()
    store.close()
    assert number_of_types(found) == {"failed": MAX_ERROR_TYPES + 1, "retried": MAX_ERROR_TYPES + 1}
    assert sum(found.counters.values()) == 6000
    assert found.counters["failed", "job", "Error0", "acme"] == 1
    assert found.counters["failed", "job", "other", "acme"] == 3000 - MAX_ERROR_TYPES
