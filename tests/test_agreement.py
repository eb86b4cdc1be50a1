"""Workers and the web process that reads their job totals: is it the same store?"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from flask import Flask

from celery_health_bp.asking.agreement import Agreement
from celery_health_bp.errors import StoreUnavailable
from celery_health_bp.report import StoreFacts, Worker
from celery_health_bp.stores import RedisStore

from .exposition import Exposition
from .nodes import REPLIES, ScriptedNode
from .probes import probe
from .processes import Worker as WorkerProcess
from .processes import wait_until
from .servers import RedisServer


def store_read(web: Flask) -> float | None:
    """What a scrape says of the store."""
    return Exposition(web.test_client().get("/metrics").text).get("celery_health_scrape_success", source="store")


def of_store(web: Flask) -> list[str]:
    """The sentences on stores that differ."""
    found = probe(web)
    assert (found.status, found.body["status"]) == (200, "healthy")
    return [note for note in found.notes.splitlines() if note.startswith("Job totals of")]


def node(app: Celery, **store: Any) -> ScriptedNode:
    """A worker that says this of its store."""
    said = {"kind": "redis", "place": "redis://elsewhere:6379/0", "keys": "{celery_health}", **store}
    return ScriptedNode(app, "a@t", {**REPLIES, "stats": {**REPLIES["stats"], "celery_health": {"store": said}}})


def test_a_process_that_reads_another_store_than_the_worker_fills_says_so(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., WorkerProcess]
) -> None:
    """Another key prefix, database or kind of store: a sentence names both, the scrape has a 0, the verdict stays."""
    worker = start_worker(redis.url)
    place = redis.url.removesuffix("/0")
    filled = f"Job totals of {worker.name} go to {place}/0 (keys {{celery_health}}), but this process "
    same = ": give workers and this process the same metrics_store and metrics_key_prefix"
    differing = {
        f"reads {place}/0 (keys {{other}})": {"metrics_key_prefix": "other"},
        f"reads {place}/1 (keys {{celery_health}})": {"metrics_store": f"{place}/1"},
        'asks the workers for them (metrics_store="control")': {"metrics_store": "control"},
    }
    for own, settings in differing.items():
        web = make_app(celery_app, cache_seconds=0, **settings)
        assert of_store(web) == [filled + own + same]
        assert store_read(web) == 0
    web = make_app(celery_app, cache_seconds=0)
    assert (of_store(web), store_read(web)) == ([], 1)


def test_a_worker_that_keeps_its_totals_is_reported_once_in_the_log(
    redis: RedisServer,
    celery_app: Celery,
    make_app: Callable[..., Flask],
    start_worker: Callable[..., WorkerProcess],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A worker with the control store under a web process with Redis: two checks, one line in the log."""
    worker = start_worker(redis.url, environ={"CELERY_HEALTH_METRICS_STORE": "control"})
    web = make_app(celery_app, cache_seconds=0)
    for _ in range(2):
        (sentence,) = of_store(web)
    assert sentence.startswith(f'Job totals of {worker.name} stay in memory (metrics_store="control"), but this')
    assert [record.getMessage() for record in caplog.records].count(sentence) == 1
    assert store_read(web) == 0


def test_one_store_under_two_names_is_one_also_after_it_was_emptied(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., WorkerProcess]
) -> None:
    """localhost and 127.0.0.1 are no mismatch; nor after a FLUSHDB, for a web process that ran before or a new one."""
    place = redis.url.removesuffix("/0")
    start_worker(
        redis.url,
        environ={"CELERY_HEALTH_METRICS_STORE": f"{place}/1", "CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.02"},
    )
    settings = {"metrics_store": f"{place.replace('127.0.0.1', 'localhost')}/1", "cache_seconds": 0}
    web = make_app(celery_app, **settings)
    assert (of_store(web), store_read(web)) == ([], 1)
    with redis.client() as client:
        client.execute_command("SELECT", 1)
        client.flushdb()
    assert (of_store(web), store_read(web)) == ([], 1)
    newcomer = make_app(celery_app, **settings)
    wait_until(lambda: of_store(newcomer) == [], "the worker has given the store a new id")
    assert of_store(web) == []


def test_two_servers_of_one_name_are_two(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """Each host with a Redis of its own at localhost: the id tells, and the sentence says what to look at."""
    place = redis.url.removesuffix("/0") + "/0"
    with node(celery_app, place=place, id="another"):
        (sentence,) = of_store(make_app(celery_app, cache_seconds=0))
    expected = f"go to {place} (keys {{celery_health}}), but this process reads another server of the same name"
    assert expected in sentence


@pytest.mark.parametrize("store", ["redis", {"id": None}, {"id": ["junk"]}])
def test_nothing_is_said_of_a_store_that_is_not_known(
    celery_app: Celery, make_app: Callable[..., Flask], store: Any
) -> None:
    """A worker of an older version, or one that could not read its store's id, is not accused."""
    replies = {**REPLIES, "stats": {"celery_health": {"store": store}}}
    own = node(celery_app, **store) if isinstance(store, dict) else ScriptedNode(celery_app, "a@t", replies)
    with own:
        assert of_store(make_app(celery_app)) == []


@pytest.mark.deadline
def test_a_store_that_does_not_answer_holds_no_check(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], tmp_path: Any
) -> None:
    """The id is in a frozen Redis: a check with half a second to its deadline is healthy all the same."""
    totals = RedisServer(tmp_path)
    try:
        web = make_app(celery_app, metrics_store=totals.url, timeout_seconds=0.5, cache_seconds=0)
        assert totals.process is not None
        totals.process.send_signal(signal.SIGSTOP)
        with node(celery_app, id="another"):
            assert [of_store(web) for _ in range(2)] == [[], []]
    finally:
        totals.stop()


def test_a_large_fleet_in_another_store_is_one_short_sentence() -> None:
    """A thousand workers of one store are five names and a number."""

    class Unreachable(RedisStore):
        """A store of which only the name is known."""

        place, keys = "redis://here:6379/0", "{a}"

        def __init__(self) -> None: ...

        def identity(self, *, create: bool = False) -> str | None:
            """Fail as Redis does."""
            raise StoreUnavailable("away")

    workers = [Worker(f"w{n:03}@h", store=StoreFacts("redis", "redis://there:6379/0", "{b}")) for n in range(1000)]
    strays, sentences = Agreement(Unreachable()).compare(workers, 0)
    assert (len(strays), len(sentences)) == (1000, 1)
    assert sentences[0].startswith(
        "Job totals of w000@h, w001@h, w002@h, w003@h, w004@h and 995 more go to redis://there"
    )
