"""A worker whose store fails, may evict totals, or has lost a sequence number."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery
from redis import Redis

from celery_health_bp import Settings
from celery_health_bp.counting.outcomes import STARTED
from celery_health_bp.counting.recorder import Recorder
from celery_health_bp.stores import RedisStore
from tests.support.servers import RedisServer


@pytest.mark.parametrize(
    ("policy", "maxmemory"), [("noeviction", "1gb"), ("volatile-lru", "1gb"), ("allkeys-lru", "0")]
)
def test_totals_that_cannot_be_evicted_make_no_note(
    redis: RedisServer, admin: Redis, policy: str, maxmemory: str
) -> None:
    """Without a memory limit, or with a policy that spares our keys, ``dangers()`` is empty."""
    admin.config_set("maxmemory", maxmemory)
    admin.config_set("maxmemory-policy", policy)
    store = RedisStore.from_url(redis.url, Celery(broker=redis.url), Settings())
    assert store.dangers() == ()
    store.close()


def test_a_user_without_info_is_refused_once(redis: RedisServer, admin: Redis) -> None:
    """Without the permission for INFO ``dangers()`` is empty, and asks Redis once only."""
    admin.execute_command("ACL", "SETUSER", "counter", "on", ">s3cret", "~*", "+@all", "-info")
    url = redis.url.replace("//", "//counter:s3cret@")
    store = RedisStore.from_url(url, Celery(broker=url), Settings())
    assert [store.dangers() for _ in range(3)] == [()] * 3
    (refused,) = admin.acl_log()
    assert refused["count"] == 1
    store.close()


@pytest.fixture
def recorder(redis: RedisServer) -> Iterator[Recorder]:
    """A recorder that flushes only when the test does."""
    store = RedisStore.from_url(redis.url, Celery(broker=redis.url), Settings())
    made = Recorder(Settings(flush_interval_seconds=3600), store)
    yield made
    made.stop()


def test_a_worker_without_jobs_notices_that_its_store_is_back(redis: RedisServer, recorder: Recorder) -> None:
    """A flush without counts tries a store again that was down when the worker started."""
    redis.stop()
    recorder.announce()
    assert recorder.store_facts()["error"] == "ConnectionRefusedError"
    assert not recorder.flush()
    redis.start()
    assert recorder.flush()
    facts = recorder.store_facts()
    assert facts["failing_since"] is None
    assert facts["id"]


def test_a_web_process_does_not_watch_the_store(redis: RedisServer, admin: Redis, recorder: Recorder) -> None:
    """A process that is no worker sends its counts, and neither asks for the policy nor for the id of the store."""
    admin.config_resetstat()
    for number in range(30):
        if number == 15:
            recorder.ledger.count(STARTED, "job", "c")
        assert recorder.flush()
    calls = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
    assert "eval" in calls
    assert not calls & {"info", "hget"}
    assert recorder.store_facts()["id"] is None


def test_counts_that_may_be_added_twice_are_logged(
    redis: RedisServer, admin: Redis, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The log warns of counts added twice if a batch is sent again after its writer's key was evicted, only then."""
    for job in ("one", "two"):
        recorder.ledger.count(STARTED, job, "c")
        recorder.flush()
        admin.delete(*admin.keys("{celery_health}:writer:*"))
    assert "twice" not in caplog.text
    recorder.ledger.count(STARTED, "three", "c")
    admin.config_set("maxmemory", "1")
    assert not recorder.flush()
    admin.config_set("maxmemory", "0")
    assert recorder.flush()
    assert "counts that were sent again may have been added twice" in caplog.text
