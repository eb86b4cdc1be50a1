"""Job totals in a Redis Cluster, after failures and moves of their slot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.support.cluster import Cluster
from tests.support.exposition import JOB, Exposition
from tests.support.processes import Worker, wait_until
from tests.support.publishing import send


@pytest.fixture
def cluster(_nothing_left: None, tmp_path: Path) -> Iterator[Cluster]:
    """Yield three masters, and a replica of the first, which owns our keys."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    found = Cluster(folder)
    yield found
    found.stop()


def started(store: str, broker: str, start_worker: Callable[..., Worker]) -> Worker:
    """Start a worker with this store."""
    environ = {"CELERY_HEALTH_METRICS_STORE": store, "CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.05"}
    return start_worker(broker, environ=environ)


def completed(web: Any) -> float:
    """Return the number of completed attempts in ``/metrics``."""
    return Exposition(web.get("/metrics").text).total(f"{JOB}_completed_total")


def five_counted(
    cluster: Cluster, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> tuple[Worker, Any]:
    """Start a worker and a web client with the URL of the second master, and let five attempts be counted."""
    store = f"redis+cluster://127.0.0.1:{cluster.masters[1].port}"
    worker = started(store, celery_app.conf.broker_url, start_worker)
    web = make_app(celery_app, metrics_store=store).test_client()
    send(celery_app, 5)
    wait_until(lambda: completed(web) == 5, "five are counted", 30)
    return worker, web


def test_totals_survive_the_loss_of_their_node(
    cluster: Cluster, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """The URL of any node leads to the owner of the keys, and to its replica after a kill; each count is added once."""
    worker, web = five_counted(cluster, celery_app, start_worker, make_app)
    wait_until(cluster.in_step, "the replica is in step")
    cluster.masters[0].stop()
    send(celery_app, 5)
    assert cluster.replica is not None
    cluster.wait_for_owner(cluster.replica)
    wait_until(lambda: completed(web) == 10, "ten are counted", 10)
    worker.wait_for(r"job totals go to Redis Cluster with nodes 127\.0\.0\.1:\d+, keys \{celery_health\}:\*")


@pytest.mark.slow
def test_totals_follow_their_slot_when_the_node_of_the_url_is_gone(
    cluster: Cluster, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """After the node of the URL is lost and the slot has moved, worker and web process still find the owner."""
    worker, web = five_counted(cluster, celery_app, start_worker, make_app)
    cluster.masters[1].stop()
    send(celery_app, 5)
    wait_until(lambda: completed(web) == 10, "ten are counted", 10)
    cluster.swap()
    send(celery_app, 5)
    wait_until(lambda: completed(web) == 15, "fifteen are counted", 10)
    assert "Traceback" not in worker.output()


def test_a_plain_redis_url_of_the_wrong_node_is_logged(
    cluster: Cluster, celery_app: Celery, make_app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says that the server is a cluster node, and which URL to use."""
    port = cluster.masters[1].port
    metrics = make_app(celery_app, metrics_store=f"redis://127.0.0.1:{port}/0").test_client().get("/metrics").text
    assert 'celery_health_scrape_success{source="store"} 0.0' in metrics
    assert (
        f"Redis at 127.0.0.1:{port} is a node of a Redis Cluster, and the keys {{celery_health}}:* are on another one: "
        "give metrics_store=redis+cluster://HOST:PORT"
    ) in caplog.text
