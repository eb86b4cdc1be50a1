"""Totals on a list of servers: where kombu's order leads, and what a process that ends cannot send."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from celery_health_bp import Settings
from celery_health_bp.stores import RedisStore
from tests.support.exposition import JOB, Exposition
from tests.support.lossy_proxy import LossyProxy
from tests.support.processes import Worker, wait_until
from tests.support.publishing import send
from tests.support.servers import RedisServer, free_port


def environ(store: str) -> dict[str, str]:
    """Return the environment of a worker with this store."""
    return {"CELERY_HEALTH_METRICS_STORE": store, "CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.05"}


def completed(web: Any) -> float:
    """Return the number of completed attempts in ``/metrics``."""
    return Exposition(web.get("/metrics").text).total(f"{JOB}_completed_total")


def store_facts(client: Celery, worker: Worker) -> dict[str, Any]:
    """Return the store in the worker's reply to ``stats``."""
    (stats,) = client.control.inspect([worker.name], limit=1).stats().values()
    found: dict[str, Any] = stats["celery_health"]["store"]
    return found


def test_auto_uses_the_second_broker_when_the_first_is_down(
    redis: RedisServer, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """With ``auto`` and the first broker of a list down, worker and web process use the second one."""
    urls = f"redis://127.0.0.1:{free_port()}/0;{redis.url}"
    worker = start_worker(urls, environ=environ("auto"), ready=False)
    client = Celery("upstream", broker=urls)
    web = make_app(client).test_client()
    send(Celery(broker=redis.url, set_as_current=False), 5)
    wait_until(lambda: completed(web) == 5, "five are counted", 30)
    worker.wait_for(r"job totals go to Redis at 127\.0\.0\.1:\d+ or Redis at 127\.0\.0\.1:\d+, keys")


def test_totals_move_to_the_second_server_and_back(
    redis: RedisServer, redis_pair: list[RedisServer], celery_app: Celery, start_worker: Callable[..., Worker],
    make_app: Any,
) -> None:  # fmt: skip
    """While the first server is down, counts go to the second and the web process reads it; then both return."""
    first, second = redis_pair
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


def test_a_lost_reply_sends_no_batch_to_the_second_server(
    redis: RedisServer, redis_pair: list[RedisServer], celery_app: Celery, start_worker: Callable[..., Worker],
    make_app: Any,
) -> None:  # fmt: skip
    """A batch whose reply is lost is on the first server once, and not on the second."""
    first, second = redis_pair
    with LossyProxy(first.port) as proxy:
        worker = start_worker(redis.url, environ=environ(f"{proxy.url};{second.url}"))
        web, on_second = (make_app(celery_app, metrics_store=url).test_client() for url in (first.url, second.url))
        for done in (10, 20):
            proxy.to_lose = 1
            send(celery_app, 10)
            wait_until(lambda expected=done: proxy.to_lose == 0 and completed(web) >= expected, f"{done} counted", 30)
            wait_until(lambda: store_facts(celery_app, worker)["unsent"] == 0, "the worker has the reply")
    assert (completed(web), completed(on_second)) == (20, 0)


@pytest.mark.measured
def test_counts_that_a_stopping_worker_cannot_send_are_logged(
    redis: RedisServer, redis_pair: list[RedisServer], celery_app: Celery, start_worker: Callable[..., Worker]
) -> None:
    """With all servers down a worker that stops says once how many attempts of each task are lost, and ends."""
    worker = start_worker(redis.url, environ=environ(";".join(server.url for server in redis_pair)))
    for server in redis_pair:
        server.stop()
    send(celery_app, 3)
    celery_app.send_task("tests.support.apps.jobs.fail")
    wait_until(lambda: worker.output().count(" succeeded in ") == 3, "three have run", 30)
    # Not earlier: once, a worker that got SIGTERM while it read the last result did not end.
    wait_until(lambda: store_facts(celery_app, worker)["unsent"] == 8, "all four are counted")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 0
    found = re.findall(r"job totals: (\d+) counts could not be sent before this process ends, (.*)", worker.output())
    assert len(found) == 1
    assert found[0][0] == "8"
    assert (
        "tests.support.apps.jobs.fail: 1 started, 1 failed; tests.support.apps.jobs.work: 3 started, 3 completed"
        in found[0][1]
    )
    assert all(f"Redis at 127.0.0.1:{server.port}" in found[0][1] for server in redis_pair)
