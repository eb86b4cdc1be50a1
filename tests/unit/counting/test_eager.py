"""Eager runs count in the process that they run in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask

from celery_health_bp import MonitoredTask, monitor_task
from tests.support.exposition import JOB, Exposition
from tests.support.processes import ROOT


def raises(error: BaseException) -> Callable[..., None]:
    """A function that raises."""

    def function(customer_id: str) -> None:
        raise error

    return function


def test_always_eager_without_any_broker_still_counts(make_app: Callable[..., Flask]) -> None:
    """With ``task_always_eager``, propagated errors and no broker the counts are this process's own."""
    app = Celery("eager", broker="memory://", set_as_current=False)
    app.conf.update(task_always_eager=True, task_eager_propagates=True)
    task = app.task(name="raises", base=MonitoredTask, shared=False)(raises(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        task.delay("acme")
    found = Exposition(make_app(app, timeout_seconds=0.5).test_client().get("/metrics").text)
    assert (
        found.total(f"{JOB}_failed_total", task_name="raises", error_type="ZeroDivisionError", customer_id="acme") == 1
    )


RUNS = """
import sys
from celery import Celery
from celery_health_bp import CeleryHealth, MonitoredTask, Settings, create_metrics_app
from werkzeug.test import Client
app = Celery("eager", broker="memory://", task_cls=MonitoredTask)
@app.task
def job(customer_id): ...
for _ in range(int(sys.argv[1])):
    job.apply(["acme"])
health = CeleryHealth(lambda: app, Settings(timeout_seconds=0.2))
print(Client(create_metrics_app(health)).get("/").text)
"""


def test_two_processes_of_one_host_share_no_series() -> None:
    """Without Redis each web process shows what it ran eagerly under a name of its own."""
    found = []
    for number in ("10", "3"):
        done = subprocess.run(
            [sys.executable, "-c", RUNS, number], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
        )
        found += Exposition(done.stdout).series(f"{JOB}_completed_total")
    assert [number for _, number in found] == [10, 3]
    assert len({labels["worker"] for labels, _ in found}) == 2


def test_the_decorator_leaves_argument_checking_as_it_was() -> None:
    """A wrong call of a decorated task raises at ``delay``, as without the decorator."""
    app = Celery("eager", broker="memory://", set_as_current=False)
    task = app.task(shared=False)(monitor_task(echo))
    with pytest.raises(TypeError, match="customer_id"):
        task.delay()


def echo(customer_id: str) -> str:
    """A function with one argument."""
    return customer_id


def test_an_eager_run_does_not_suffer_from_wrong_settings(caplog: pytest.LogCaptureFixture) -> None:
    """With settings that cannot be read the job returns, and one line of the log says that it is not counted."""
    app = Celery("eager", broker="memory://", task_cls=MonitoredTask, set_as_current=False)
    app.conf.celery_health = {"max_customers": "many"}

    @app.task(name="any", shared=False)
    def task() -> str:
        return "done"

    assert [task.apply().get() for _ in range(2)] == ["done", "done"]
    assert caplog.text.count("attempts may go uncounted; the jobs are not affected: max_customers=") == 1
