"""What a worker says when its counts do not arrive, or when totals were lost, and who shows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from celery_health_bp import Settings
from celery_health_bp.counting.outcomes import STARTED
from celery_health_bp.counting.recorder import Recorder
from celery_health_bp.stores import RedisStore

from .exposition import JOB, Exposition
from .probes import probe
from .processes import Worker, wait_until
from .servers import RedisServer

TOTALS = "{celery_health}:totals"
FAST = {"CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.05"}


def send(client: Celery, number: int) -> None:
    """Publish jobs that return at once."""
    for _ in range(number):
        client.send_task("tests.jobs.work", kwargs={"customer_id": "123"})


def not_known(app: Any) -> list[str]:
    """What ``health/?verbose=1`` says of the job totals."""
    found: list[str] = app.test_client().get("/api/celery/health/?verbose=1").get_json()["details"]["not_known"]
    return [sentence for sentence in found if sentence.startswith("Job totals")]


def test_a_store_that_takes_nothing_is_shown_until_it_does(
    redis: RedisServer, admin: Redis, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """A user without scripting: metrics, success and a sentence say so; with the right given the totals are exact."""
    admin.execute_command("ACL", "SETUSER", "counter", "on", ">s3cret", "~*", "&*", "+@all", "-@scripting")
    url = redis.url.replace("//", "//counter:s3cret@")
    worker = start_worker(redis.url, environ={**FAST, "CELERY_HEALTH_METRICS_STORE": url})
    send(celery_app, 3)
    worker.wait_for(r"(?s)(succeeded in.*){3}")
    web = make_app(celery_app, cache_seconds=0)

    def read() -> Exposition:
        return Exposition(web.test_client().get("/metrics").text)

    found = read()
    assert found.get("celery_worker_store_up", hostname=worker.name) == 0
    assert found.get("celery_health_scrape_success", source="store") == 0
    place = rf"redis://127\.0\.0\.1:{redis.port}/0 for \d+ s \(NoPermissionError\)"
    sentence = f"Job totals of {worker.name} cannot be sent to {place}: 6 events wait in memory and are sent again"
    wait_until(lambda: re.fullmatch(sentence, *not_known(web)), "it is told")
    assert probe(web).status == 200
    admin.execute_command("ACL", "SETUSER", "counter", "+@scripting")
    wait_until(lambda: read().get("celery_worker_store_up", hostname=worker.name) == 1, "the counts arrive")
    found = read()
    assert found.total(f"{JOB}_started_total") == found.total(f"{JOB}_completed_total") == 3
    assert found.get("celery_health_scrape_success", source="store") == 1
    assert not_known(web) == []


def test_totals_that_may_be_evicted_or_were_are_told(
    redis: RedisServer, admin: Redis, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """An eviction policy for all keys, and totals that disappear, make a sentence and one line of the log each."""
    admin.config_set("maxmemory", "1gb")
    admin.config_set("maxmemory-policy", "allkeys-lru")
    worker = start_worker(redis.url, environ=FAST)
    web = make_app(celery_app, cache_seconds=0)
    (policy,) = not_known(web)
    assert policy.startswith(f"Job totals, says {worker.name}: Redis at 127.0.0.1:{redis.port}, keys ")
    assert policy.endswith(" may be evicted (maxmemory_policy allkeys-lru): totals would go backwards; use noeviction")
    send(celery_app, 2)
    wait_until(lambda: admin.hlen(TOTALS), "they are counted")
    admin.delete(TOTALS)
    send(celery_app, 2)
    wait_until(lambda: len(not_known(web)) == 2, "the loss is told")
    gone = f"{TOTALS} was gone (deleted, evicted, Redis is empty or another one of a list): the totals begin at 0 there"
    assert not_known(web)[1].endswith(f" UTC {gone}")
    assert worker.output().count("may be evicted") == worker.output().count("was gone") == 1


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
