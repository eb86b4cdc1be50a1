"""Eager runs are counted by the process that runs them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from celery import Celery, Task
from celery.exceptions import Ignore, Reject
from flask import Flask

from celery_health_bp import MonitoredTask, monitor_task
from tests.support.exposition import JOB, Exposition
from tests.support.servers import RedisServer


def returns(customer_id: str) -> int:
    """Return a value."""
    return 1


def raises(error: BaseException) -> Callable[..., None]:
    """Return a task function that raises this error."""

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
    """``.apply()`` counts a task with our base class or decorator, and the accounting invariant holds."""
    app = Celery("eager", broker=redis.url, set_as_current=False)
    base = Task if decorated else MonitoredTask
    task = app.task(name=name, base=base, shared=False, **options)(monitor_task(function) if decorated else function)
    with suppress(Ignore, Reject):
        task.apply(["acme"])
    found = Exposition(make_app(app, timeout_seconds=0.5).test_client().get("/metrics").text)
    kinds = ("started", "completed", "failed", "retried", "aborted")
    labels = {"task_name": name, "customer_id": "acme"}
    assert {kind: n for kind in kinds if (n := found.total(f"{JOB}_{kind}_total", **labels))} == expected
    assert set(found.imbalance().values()) == {0}
