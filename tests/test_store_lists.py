"""Totals on a list of servers: where kombu's order leads, and what a process that ends cannot send."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from redis.exceptions import ConnectionError as RedisConnectionError

from celery_health_bp import Settings
from celery_health_bp.errors import ConfigurationError
from celery_health_bp.stores import RedisStore, open_store
from celery_health_bp.stores.address import redis_urls
from celery_health_bp.stores.redis import FIELDS_AT_ONCE

from .exposition import JOB, Exposition
from .processes import ROOT, Worker, wait_until
from .proxy import Proxy
from .servers import RedisServer, free_port

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[RedisServer]]:
    """Two servers that know nothing of each other and keep their data."""
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made.append(RedisServer(tmp_path / name, *DURABLE))
    yield made
    for server in made:
        server.stop()


def environ(store: str) -> dict[str, str]:
    """Of a worker whose totals go there."""
    return {"CELERY_HEALTH_METRICS_STORE": store, "CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.05"}


def send(client: Celery, number: int) -> None:
    """Publish jobs that return at once."""
    for _ in range(number):
        client.send_task("tests.jobs.work", kwargs={"customer_id": "123"})


def completed(web: Any) -> float:
    """Attempts that returned, as ``/metrics`` says."""
    return Exposition(web.get("/metrics").text).total(f"{JOB}_completed_total")


def store_facts(client: Celery, worker: Worker) -> dict[str, Any]:
    """What the worker's stats say of its store."""
    (stats,) = client.control.inspect([worker.name], limit=1).stats().values()
    found: dict[str, Any] = stats["celery_health"]["store"]
    return found


FIRST_URLS = {
    "kombu's list": ({"broker": "redis://a:1;redis://b:2"}, "redis://a:1;redis://b:2"),
    "a Python list": ({"broker": ["redis://a:1", "valkey://b:2"]}, "redis://a:1;valkey://b:2"),
    "the result backend": ({"broker": "amqp://", "backend": "redis://a:1;redis://b:2"}, "redis://a:1;redis://b:2"),
    "others in it": ({"broker": ["redis://a:1", "amqp://b"]}, "redis://a:1"),
    "others first": ({"broker": ["amqp://b", "redis://a:1"]}, None),
    "sentinels": ({"broker": "sentinel://a:1;sentinel://b:2"}, "sentinel://a:1;sentinel://b:2"),
    "nothing": ({"broker": "amqp://"}, None),
}


@pytest.mark.parametrize(("urls", "found"), FIRST_URLS.values(), ids=FIRST_URLS)
def test_auto_takes_the_whole_list(urls: dict[str, Any], found: str | None) -> None:
    """With ``auto`` all Redis URLs of the broker are taken, or those of the result backend."""
    assert redis_urls(Celery(**urls, set_as_current=False)) == found


def test_each_url_of_the_guide_is_a_store() -> None:
    """Every form of ``metrics_store`` that docs/redis.md lists opens, and is named without its password."""
    urls = re.findall(r"^\| `(\w\S*://\S+)` \|", (ROOT / "docs" / "redis.md").read_text(), re.MULTILINE)
    stores = [open_store(Celery(set_as_current=False), Settings(metrics_store=url)) for url in urls]
    assert [store.place for store in stores if store is not None] == [
        "redis://host:6379/0",
        "sentinel://host:26379,host2:26379/0?master_name=mymaster",
        "redis+cluster://host:6379,host2:6379",
        "redis://host:6379/0;redis://host2:6379/0",
    ]


def test_a_list_that_a_password_has_broken_is_refused() -> None:
    """A ``;`` in a password makes a list of one URL: its halves are not taken for servers, and not shown."""
    with pytest.raises(ConfigurationError, match="percent-encode") as refused:
        open_store(Celery(broker="redis://:12;s3cr3t@h:1/0", set_as_current=False), Settings())
    assert "s3cr3t" not in str(refused.value)


def test_totals_follow_a_list_of_brokers_whose_first_is_down(
    redis: RedisServer, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """With ``auto`` and the first broker of a list down, worker and web meet at the second one."""
    urls = f"redis://127.0.0.1:{free_port()}/0;{redis.url}"
    worker = start_worker(urls, environ=environ("auto"), ready=False)
    client = Celery("upstream", broker=urls)
    web = make_app(client).test_client()
    send(Celery(broker=redis.url, set_as_current=False), 5)
    wait_until(lambda: completed(web) == 5, "five are counted", 30)
    worker.wait_for(r"job totals go to Redis at 127\.0\.0\.1:\d+ or Redis at 127\.0\.0\.1:\d+, keys")


def test_totals_go_on_at_the_second_server_and_come_back(
    redis: RedisServer, servers: list[RedisServer], celery_app: Celery, start_worker: Callable[..., Worker],
    make_app: Any,
) -> None:  # fmt: skip
    """The first server dies and comes back: counts are on the second meanwhile, and the web reads there too."""
    first, second = servers
    urls = f"{first.url};{second.url}"
    worker = start_worker(redis.url, environ=environ(urls))
    web, on_second = (make_app(celery_app, metrics_store=url).test_client() for url in (urls, second.url))
    send(celery_app, 3)
    wait_until(lambda: completed(web) == 3, "three are on the first", 30)
    first.stop()
    send(celery_app, 4)
    wait_until(lambda: completed(web) == 4, "four are on the second", 30)
    first.start()
    wait_until(lambda: completed(web) == 3, "the web reads the first again", 30)
    first_store = RedisStore.from_url(first.url, celery_app, Settings())
    wait_until(
        lambda: store_facts(celery_app, worker)["id"] == first_store.identity(), "the worker is at the first again", 30
    )
    first_store.close()
    send(celery_app, 5)
    wait_until(lambda: completed(web) == 8, "the worker writes to the first again", 30)
    assert completed(on_second) == 4
    assert "cannot be used" not in worker.output()


def test_a_frozen_first_server_costs_its_seconds_at_times(servers: list[RedisServer]) -> None:
    """With the first server frozen only a command every 5 s waits for it; thawed, it is used again."""
    first, second = servers
    store = open_store(Celery(set_as_current=False), Settings(metrics_store=f"{first.url};{second.url}"))
    assert store is not None
    first_id = store.identity(create=True)
    first.freeze()
    second_id = store.identity(create=True)
    begin = time.monotonic()
    for _ in range(3):
        assert store.identity() == second_id != first_id
    assert time.monotonic() - begin < 1  # the first one alone would take that
    first.thaw()
    wait_until(lambda: store.identity() == first_id, "the first one is used again", 10)
    store.close()


def test_totals_of_many_fields_come_from_one_server(servers: list[RedisServer]) -> None:
    """A server that is lost while many fields are read makes an error, and no mixture with the next one's."""
    first, second = servers
    for server in servers:
        fields = {f"started\0job{server.port}\0\0{number}": 1 for number in range(FIELDS_AT_ONCE + 1)}
        with server.client() as client:
            client.hset("{celery_health}:totals", mapping=fields)
            client.connection_pool.disconnect()
    store = open_store(Celery(set_as_current=False), Settings(metrics_store=f"{first.url};{second.url}"))
    assert isinstance(store, RedisStore)
    with store._server.one_server():
        store._client.hlen("{celery_health}:totals")
        first.stop()
        with pytest.raises(RedisConnectionError):
            store._client.hlen("{celery_health}:totals")
    assert {series.task_name for series in store.totals(60).counters} == {f"job{second.port}"}
    store.close()


def test_a_lost_reply_sends_no_batch_to_the_second_server(
    redis: RedisServer, servers: list[RedisServer], celery_app: Celery, start_worker: Callable[..., Worker],
    make_app: Any,
) -> None:  # fmt: skip
    """A connection that is cut after the first server has added a batch: it is there once, and not on the second."""
    first, second = servers
    with Proxy(first.port) as proxy:
        worker = start_worker(redis.url, environ=environ(f"{proxy.url};{second.url}"))
        web, on_second = (make_app(celery_app, metrics_store=url).test_client() for url in (first.url, second.url))
        for done in (10, 20):
            proxy.to_lose = 1
            send(celery_app, 10)
            wait_until(lambda expected=done: proxy.to_lose == 0 and completed(web) >= expected, f"{done} counted", 30)
            wait_until(lambda: store_facts(celery_app, worker)["unsent"] == 0, "the worker knows it")
    assert (completed(web), completed(on_second)) == (20, 0)


@pytest.mark.measured
def test_what_a_stopping_worker_cannot_send_is_logged_with_its_numbers(
    redis: RedisServer, servers: list[RedisServer], celery_app: Celery, start_worker: Callable[..., Worker]
) -> None:
    """With all servers down a worker that stops says once how many attempts of each task are lost, and ends."""
    worker = start_worker(redis.url, environ=environ(";".join(server.url for server in servers)))
    for server in servers:
        server.stop()
    send(celery_app, 3)
    celery_app.send_task("tests.jobs.fail")
    wait_until(lambda: worker.output().count(" succeeded in ") == 3, "three have run", 30)
    worker.wait_for("no such table")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 0
    found = re.findall(r"job totals: (\d+) counts could not be sent before this process ends, (.*)", worker.output())
    assert len(found) == 1
    assert found[0][0] == "8"
    assert "tests.jobs.fail: 1 started, 1 failed; tests.jobs.work: 3 started, 3 completed" in found[0][1]
    assert all(f"Redis at 127.0.0.1:{server.port}" in found[0][1] for server in servers)
