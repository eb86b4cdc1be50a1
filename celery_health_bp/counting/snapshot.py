"""What a worker says of itself in its one reply to ``stats``, instead of in five replies.

The keys are those of Celery's own commands and so is their form, less what
nobody needs here, arguments above all. It costs a fleet's check four of five
messages. Runs in the worker's main process.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from celery.worker import state
from celery.worker.request import Request

logger: logging.Logger = logging.getLogger(__name__)

#: With more running and scheduled attempts the worker is asked as any other: others read ``stats`` too.
MAX_TASKS = 1000


def inspection(consumer: Any) -> Mapping[str, Any]:
    """Queues, attempts that run or are scheduled, how many are reserved; empty if they are too many, or that fails.

    Arguments:
        consumer: the ``celery.worker.consumer.Consumer``.
    """
    try:
        running, waiting = list(state.active_requests), list(consumer.timer.schedule.queue)
        if len(running) + len(waiting) > MAX_TASKS:
            return {}
        queues = consumer.task_consumer.queues if consumer.task_consumer else ()
        return {
            "active_queues": [{"name": queue.name} for queue in queues],
            "active": [{**_task(request), "time_start": request.time_start} for request in running],
            "scheduled": list(_scheduled(waiting)),
            "reserved": len(set(state.reserved_requests).difference(running)),
        }
    except Exception:  # then the worker is asked as any other
        logger.debug("the worker's own state cannot be read", exc_info=True)
        return {}


def _scheduled(waiting: Any) -> Iterator[dict[str, Any]]:
    for entry in waiting:
        for request in entry.entry.args[:1] or ():
            if isinstance(request, Request):
                yield {"eta": request.eta.isoformat() if request.eta else None, "request": _task(request)}


def _task(request: Any) -> dict[str, str]:
    return {"id": request.id, "type": request.type}
