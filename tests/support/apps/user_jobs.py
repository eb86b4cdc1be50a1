"""Tasks of users who override what our task class and request offer, and who pass customers their own way."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery, Task, signals
from celery.worker.request import Request
from kombu.utils.imports import symbol_by_name

from celery_health_bp import MonitoredTask, monitor_task
from celery_health_bp.counting import STEP
from celery_health_bp.counting.ledger import Ledger
from celery_health_bp.counting.request import MonitoredRequest

app = Celery("upstream", broker=os.environ.get("CELERY_BROKER_URL", "memory://"))
app.conf.broker_connection_retry_on_startup = True


class Overriding(MonitoredTask):
    """Overrides every hook without calling ours where Celery does not ask for it."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run."""
        return self.run(*args, **kwargs)

    def on_failure(self, *args: Any) -> None:
        """Do nothing."""

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Publish without our stamp."""
        return Task.apply_async(self, args, kwargs, **options)


@app.task(base=Overriding)
def overriding(customer_id: str) -> None:
    """Fail."""
    raise ValueError(customer_id)


class Derived(MonitoredRequest):
    """A request of the user's, derived from ours."""

    def on_success(self, failed__retval__runtime: Any, **kwargs: Any) -> Any:
        """As Celery does."""
        return super().on_success(failed__retval__runtime, **kwargs)


class Foreign(Request):
    """A request of the user's that knows nothing of ours."""


@app.task(base=MonitoredTask, Request=Derived)
def derived(customer_id: str) -> str:
    """Return."""
    return "done"


@app.task(base=MonitoredTask, Request=Foreign)
def foreign(customer_id: str) -> str:
    """Return, not counted."""
    return "done"


@app.task(Request=Foreign)
@monitor_task
def foreign_decorated(customer_id: str) -> str:
    """Return, not counted: its own Request stays."""
    return "done"


@app.task(base=MonitoredTask, bind=True, max_retries=1)
def slow_retry(self: Task, customer_id: str) -> str:
    """Work for two seconds, and ask to be run again at once."""
    if not self.request.retries:
        time.sleep(2)
        raise self.retry(countdown=0)
    return "done"


@app.task(base=MonitoredTask)
def order(order: dict[str, str]) -> str:
    """Hold the customer within another argument."""
    return "done"


def customer_of(task: Any, args: Any, kwargs: Any) -> Any:
    """A ``customer_resolver``; raises where there is no order, and what the order names."""
    if "raise" in kwargs["order"]:
        raise symbol_by_name(kwargs["order"]["raise"])
    return kwargs["order"]["customer"]


if os.environ.get("WITHOUT_STEP"):

    @signals.worker_init.connect
    def _without_step(sender: Any, **_: Any) -> None:
        """Build the worker as one that never heard of our step."""
        sender.app.steps["worker"].discard(STEP)


def _broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("injected")


if os.environ.get("BREAK_LEDGER"):
    setattr(Ledger, os.environ["BREAK_LEDGER"], _broken)
