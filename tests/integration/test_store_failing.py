"""What a worker says when its counts do not arrive, or when totals were lost, and who shows it."""

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
    """Without a limit, or with a policy for keys that expire, totals stay."""
    admin.config_set("maxmemory", maxmemory)
    admin.config_set("maxmemory-policy", policy)
    store = RedisStore.from_url(redis.url, Celery(broker=redis.url), Settings())
    assert store.dangers() == ()
    store.close()


def test_a_user_who_may_not_ask_for_the_policy_is_refused_once(redis: RedisServer, admin: Redis) -> None:
    """Without the right to INFO nothing is noted, and Redis's log of refusals does not grow."""
    admin.execute_command("ACL", "SETUSER", "counter", "on", ">s3cret", "~*", "+@all", "-info")
    url = redis.url.replace("//", "//counter:s3cret@")
    store = RedisStore.from_url(url, Celery(broker=url), Settings())
    assert [store.dangers() for _ in range(3)] == [()] * 3
    (refused,) = admin.acl_log()
    assert refused["count"] == 1
    store.close()


@pytest.fixture
def recorder(redis: RedisServer) -> Iterator[Recorder]:
    """A recorder that flushes when it is told to."""
    store = RedisStore.from_url(redis.url, Celery(broker=redis.url), Settings())
    made = Recorder(Settings(flush_interval_seconds=3600), store)
    yield made
    made.stop()


def test_a_worker_without_jobs_sees_that_its_store_is_back(redis: RedisServer, recorder: Recorder) -> None:
    """A store that was away when the worker started is tried again by the next flush, with nothing to send."""
    redis.stop()
    recorder.announce()
    assert recorder.store_facts()["error"] == "ConnectionRefusedError"
    assert not recorder.flush()
    redis.start()
    assert recorder.flush()
    facts = recorder.store_facts()
    assert facts["failing_since"] is None
    assert facts["id"]


def test_a_process_that_nobody_asks_does_not_watch_the_store(
    redis: RedisServer, admin: Redis, recorder: Recorder
) -> None:
    """A web process sends what it ran eagerly, and nothing else, however often it is scraped."""
    admin.config_resetstat()
    for number in range(30):
        if number == 15:
            recorder.ledger.count(STARTED, "job", "c")
        assert recorder.flush()
    calls = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
    assert "eval" in calls
    assert not calls & {"info", "hget"}
    assert recorder.store_facts()["id"] is None


def test_counts_sent_twice_after_their_sequence_was_lost_are_told(
    redis: RedisServer, admin: Redis, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """A writer's key that is evicted matters only to a batch that is sent again: the log says what may be wrong."""
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
