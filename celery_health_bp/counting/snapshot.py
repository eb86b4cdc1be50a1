"""Adds queues and attempts to a worker's reply to ``stats``, so that a check needs one reply instead of five.

Keys and format are those of Celery's inspect commands, without fields that a
check does not need, such as arguments. Runs in the worker's main process.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from celery.worker import state
from celery.worker.request import Request

logger: logging.Logger = logging.getLogger(__name__)

#: Most attempts in the reply, which other tools read too. A check asks a worker with more by Celery's commands.
MAX_TASKS = 1000


def inspection(consumer: Any) -> Mapping[str, Any]:
    """Return the worker's queues, its running and scheduled attempts, and the number of reserved ones.

    Return nothing if there are more than ``MAX_TASKS`` attempts, or if the state cannot be read.

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
    except Exception:  # the check then uses Celery's own commands
        logger.debug("the worker's own state cannot be read", exc_info=True)
        return {}


def _scheduled(waiting: Any) -> Iterator[dict[str, Any]]:
    for entry in waiting:
        for request in entry.entry.args[:1] or ():
            if isinstance(request, Request):
                yield {"eta": request.eta.isoformat() if request.eta else None, "request": _task(request)}


def _task(request: Any) -> dict[str, str]:
    return {"id": request.id, "type": request.type}
