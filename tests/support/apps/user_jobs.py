"""Tasks that override methods of our task class and request, or pass the customer in another way."""

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
    """Overrides every hook, and calls the parent only where Celery requires it."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run."""
        return self.run(*args, **kwargs)

    def on_failure(self, *args: Any) -> None:
        """Do nothing."""

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Publish without the header that holds the publishing time."""
        return Task.apply_async(self, args, kwargs, **options)


@app.task(base=Overriding)
def overriding(customer_id: str) -> None:
    """Fail."""
    raise ValueError(customer_id)


class Derived(MonitoredRequest):
    """A user's request class, derived from ours."""

    def on_success(self, failed__retval__runtime: Any, **kwargs: Any) -> Any:
        """Call the parent."""
        return super().on_success(failed__retval__runtime, **kwargs)


class Foreign(Request):
    """A user's request class that does not derive from ours."""


@app.task(base=MonitoredTask, Request=Derived)
def derived(customer_id: str) -> str:
    """Return."""
    return "done"


@app.task(base=MonitoredTask, Request=Foreign)
def foreign(customer_id: str) -> str:
    """Return. Not counted."""
    return "done"


@app.task(Request=Foreign)
@monitor_task
def foreign_decorated(customer_id: str) -> str:
    """Return. Not counted, since the decorator keeps the task's own ``Request``."""
    return "done"


@app.task(base=MonitoredTask, bind=True, max_retries=1)
def slow_retry(self: Task, customer_id: str) -> str:
    """Sleep for two seconds, then retry at once."""
    if not self.request.retries:
        time.sleep(2)
        raise self.retry(countdown=0)
    return "done"


@app.task(base=MonitoredTask)
def order(order: dict[str, str]) -> str:
    """Take the customer inside another argument."""
    return "done"


def customer_of(task: Any, args: Any, kwargs: Any) -> Any:
    """Resolve the customer. Raise if there is no order, or the exception that the order names."""
    if "raise" in kwargs["order"]:
        raise symbol_by_name(kwargs["order"]["raise"])
    return kwargs["order"]["customer"]


if os.environ.get("WITHOUT_STEP"):

    @signals.worker_init.connect
    def _without_step(sender: Any, **_: Any) -> None:
        """Build the worker without our boot step."""
        sender.app.steps["worker"].discard(STEP)


def _broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("injected")


if os.environ.get("BREAK_LEDGER"):
    setattr(Ledger, os.environ["BREAK_LEDGER"], _broken)
