"""Eager runs are counted in the process that runs them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask
from werkzeug.test import Client

from celery_health_bp import CeleryHealth, MonitoredTask, Settings, create_metrics_app, monitor_task
from tests.support.children import in_child
from tests.support.exposition import JOB, Exposition
from tests.support.servers import free_port


def divide(customer_id: str) -> float:
    """Raise ``ZeroDivisionError``."""
    return 1 / 0


def test_eager_runs_without_a_broker_are_counted(make_app: Callable[..., Flask]) -> None:
    """With ``task_always_eager``, propagated errors and no broker the failure is in this process's exposition."""
    app = Celery("eager", broker=f"amqp://127.0.0.1:{free_port()}//", set_as_current=False)
    app.conf.update(task_always_eager=True, task_eager_propagates=True)
    task = app.task(name="raises", base=MonitoredTask, shared=False)(divide)
    with pytest.raises(ZeroDivisionError):
        task.delay("acme")
    found = Exposition(make_app(app).test_client().get("/metrics").text)
    assert (
        found.total(f"{JOB}_failed_total", task_name="raises", error_type="ZeroDivisionError", customer_id="acme") == 1
    )


def test_two_processes_of_one_host_share_no_series() -> None:
    """Without Redis each process shows what it ran eagerly under its own ``worker`` label."""
    found = [sample for number in (10, 3) for sample in in_child(lambda number=number: completed(number))]
    assert [number for _, number in found] == [10, 3]
    assert len({labels["worker"] for labels, _ in found}) == 2


def completed(number: int) -> list[tuple[dict[str, str], float]]:
    """Run ``number`` jobs eagerly, and return the series of completed attempts."""
    app = Celery("eager", broker="memory://", task_cls=MonitoredTask, set_as_current=False)
    app.conf.worker_enable_remote_control = False  # a scrape waits for no replies
    task = app.task(name="echo", shared=False)(echo)
    for _ in range(number):
        task.apply(["acme"])
    health = CeleryHealth(app, Settings())
    return list(Exposition(Client(create_metrics_app(health)).get("/").text).series(f"{JOB}_completed_total"))


def test_the_decorator_does_not_change_argument_checking() -> None:
    """``delay`` of a decorated task raises a TypeError for missing arguments, as without the decorator."""
    app = Celery("eager", broker="memory://", set_as_current=False)
    task = app.task(shared=False)(monitor_task(echo))
    with pytest.raises(TypeError, match="customer_id"):
        task.delay()


def echo(customer_id: str) -> str:
    """Return the argument."""
    return customer_id


def test_wrong_settings_do_not_break_eager_runs(caplog: pytest.LogCaptureFixture) -> None:
    """With settings that cannot be read the task returns, and one warning says that it may go uncounted."""
    app = Celery("eager", broker="memory://", task_cls=MonitoredTask, set_as_current=False)
    app.conf.celery_health = {"max_customers": "many"}

    @app.task(name="any", shared=False)
    def task() -> str:
        return "done"

    assert [task.apply().get() for _ in range(2)] == ["done", "done"]
    assert caplog.text.count("attempts may go uncounted; the jobs are not affected: max_customers=") == 1
