"""Eager runs count in the process that they run in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from celery import Celery, Task
from celery.exceptions import Ignore, Reject
from flask import Flask

from celery_health_bp import MonitoredTask, monitor_task

from .exposition import JOB, Exposition
from .processes import ROOT
from .servers import RedisServer


def returns(customer_id: str) -> int:
    """Return."""
    return 1


def raises(error: BaseException) -> Callable[..., None]:
    """A function that raises."""

    def function(customer_id: str) -> None:
        raise error

    return function


def retries(self: Task, customer_id: str) -> None:
    """Ask for one retry, then fail."""
    raise self.retry(exc=KeyError("locked"), countdown=0)


ROWS: list[tuple[str, Callable[..., Any], dict[str, Any], dict[str, int]]] = [
    ("returns", returns, {}, {"started": 1, "completed": 1}),
    ("raises", raises(ValueError()), {}, {"started": 1, "failed": 1}),
    ("ignored", raises(Ignore()), {}, {"started": 1, "aborted": 1}),
    ("rejected", raises(Reject("no", requeue=False)), {}, {"started": 1, "aborted": 1}),
    ("retried", retries, {"bind": True, "max_retries": 1}, {"started": 2, "retried": 1, "failed": 1}),
    (
        "autoretried",
        raises(KeyError()),
        {"autoretry_for": (KeyError,), "max_retries": 1, "default_retry_delay": 0},
        {"started": 2, "retried": 1, "failed": 1},
    ),
]


@pytest.mark.parametrize("decorated", [False, True], ids=["base", "decorator"])
@pytest.mark.parametrize(("name", "function", "options", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_every_end_of_an_eager_run_is_counted(
    redis: RedisServer,
    make_app: Callable[..., Flask],
    name: str,
    function: Callable[..., Any],
    options: dict[str, Any],
    expected: dict[str, int],
    decorated: bool,
) -> None:
    """``.apply()`` counts by base class and by decorator, and the law holds."""
    app = Celery("eager", broker=redis.url, set_as_current=False)
    base = Task if decorated else MonitoredTask
    task = app.task(name=name, base=base, shared=False, **options)(monitor_task(function) if decorated else function)
    with suppress(Ignore, Reject):
        task.apply(["acme"])
    found = Exposition(make_app(app, timeout_seconds=0.5).test_client().get("/metrics").text)
    kinds = ("started", "completed", "failed", "retried", "aborted")
    labels = {"task_name": name, "customer_id": "acme"}
    assert {kind: n for kind in kinds if (n := found.total(f"{JOB}_{kind}_total", **labels))} == expected
    assert set(found.law().values()) == {0}


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
