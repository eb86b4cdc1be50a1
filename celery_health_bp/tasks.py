"""The task class and the decorator that make a worker count a task's attempts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from celery import Task, signals

from .counting import REQUEST, STEP, eager
from .wire import PUBLISHED_HEADER

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:  # generic in Celery's stubs only
    _Task: TypeAlias = Task[..., Any]
else:
    _Task = Task


class MonitoredTask(_Task):  # type: ignore[misc]  # celery ships no types
    """Base class of tasks whose attempts are counted: ``base=MonitoredTask`` or ``Celery(task_cls=MonitoredTask)``.

    Workers need no further configuration: binding such a task to an app adds
    the custom request and the bootstep that count.
    """

    Request = REQUEST
    celery_health_monitored = True

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Add the bootstep to the workers of an app. Celery calls this for each app.

        Arguments:
            app: the Celery app.
        """
        super().on_bound(app)
        app.steps["worker"].add(STEP)

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task in this process, as ``Task.apply`` does, and count the run."""
        eager.connect()  # only here: without receivers, Celery skips the signals for the jobs of a pool process
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
        """Publish the task, as ``Task.apply_async`` does, with the time of publishing in a header.

        The header makes the time in the queue known. Arguments and result are those of ``Task.apply_async``.
        """
        headers: Mapping[str, Any] = options.pop("headers", None) or {}
        options["headers"] = {**headers, PUBLISHED_HEADER: time.time_ns() // 1000}
        return super().apply_async(args, kwargs, task_id, producer, link, link_error, shadow, **options)


def monitor_task(function: F) -> F:
    """Decorate the function of a task, below ``@shared_task`` or ``@app.task``, to count its attempts.

    Works with any base class, and counts the same as ``MonitoredTask`` except
    for the time in the queue.

    Arguments:
        function: the function of the task.

    Returns:
        The function itself, so that Celery checks arguments against its signature.

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
    """Set the custom request of tasks with a decorated function; ``sender`` is the worker before its start."""
    app = sender.app
    for task in app.tasks.values():
        if eager.is_monitored(task):
            app.steps["worker"].add(STEP)
            if task.Request == Task.Request:  # keep a class of the user; RecorderStep warns if it cannot count
                task.Request = REQUEST
