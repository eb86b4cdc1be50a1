"""The task class and the decorator that have a task's attempts counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from celery import Task, signals

from .counting import REQUEST, STEP, eager
from .wire import PUBLISHED_HEADER

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:  # Celery's class is generic in its stubs alone
    _Task: TypeAlias = Task[..., Any]
else:
    _Task = Task


class MonitoredTask(_Task):  # type: ignore[misc]  # celery ships no types
    """A task whose attempts are counted; use it as ``base=`` or as ``Celery(task_cls=...)``.

    The worker needs nothing else: a task of this class brings along what runs
    in the worker's main process.
    """

    Request = REQUEST
    celery_health_monitored = True

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Join the app's worker (called by Celery for each app)."""
        super().on_bound(app)
        app.steps["worker"].add(STEP)

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """Run here and now as ``Task.apply`` does, and count the run."""
        eager.connect()  # not before: while nobody listens, Celery sends no signal for a pool process's jobs
        return super().apply(*args, **kwargs)

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: Any = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: Any = None,
        **options: Any,
    ) -> Any:
        """Publish as ``Task.apply_async`` does, with the time of publishing in a header."""
        headers: Mapping[str, Any] = options.pop("headers", None) or {}
        options["headers"] = {**headers, PUBLISHED_HEADER: time.time_ns() // 1000}
        return super().apply_async(args, kwargs, task_id, producer, link, link_error, shadow, **options)


def monitor_task(function: F) -> F:
    """Have a task's attempts counted; stands under ``@shared_task`` or ``@app.task``.

    Gives the counts of ``MonitoredTask`` to a task of any other base class;
    only the time in the queue is not known. The function itself is returned:
    Celery checks arguments against its signature.

    For example:

        @shared_task
        @monitor_task
        def send(customer_id): ...
    """
    setattr(function, eager.MARK, True)
    signals.worker_init.connect(_adopt_marked_tasks, dispatch_uid=f"{__name__}.adopt", weak=False)
    eager.connect()
    return function


def _adopt_marked_tasks(sender: Any, **_: Any) -> None:
    """Give tasks of decorated functions our Request; ``sender`` is the worker, not yet started."""
    app = sender.app
    for task in app.tasks.values():
        if eager.is_monitored(task):
            app.steps["worker"].add(STEP)
            if task.Request == Task.Request:  # one of the user's own stays; the step tells if it cannot count
                task.Request = REQUEST
