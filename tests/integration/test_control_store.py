"""The control store on memory://, where worker and scrape share a process."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.contrib.testing.worker import start_worker as start_worker_thread

from celery_health_bp import MonitoredTask
from tests.support.exposition import JOB, Exposition
from tests.support.processes import wait_until
from tests.support.publishing import send

COMPLETED = f"{JOB}_completed_total"


def test_a_worker_in_this_process_is_counted_once(make_app: Any) -> None:
    """Attempts of a worker in the scraped process are shown once, under the name of the worker."""
    app = Celery("upstream", broker="memory://", task_cls=MonitoredTask, set_as_current=False)
    app.conf.broker_transport_options = {"polling_interval": 0.01}

    @app.task(name="tests.support.apps.jobs.work", shared=False)
    def work(customer_id: str) -> str:
        return "done"

    web = make_app(app).test_client()
    with start_worker_thread(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        send(app, 5)
        wait_until(lambda: Exposition(web.get("/metrics").text).total(COMPLETED) >= 5, "all are counted", 30)
        found = Exposition(web.get("/metrics").text)
    assert found.total(COMPLETED) == 5
    assert {"worker"} <= set(next(found.series(COMPLETED))[0])
