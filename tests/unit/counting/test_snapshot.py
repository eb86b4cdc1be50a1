"""The worker's own state in its reply to ``stats``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.worker import state
from celery.worker.request import Request
from kombu import Message, Queue
from kombu.asynchronous.timer import Timer

from celery_health_bp.counting.snapshot import MAX_TASKS, inspection

ETA = datetime(2024, 1, 28, 10, 30, tzinfo=timezone.utc)


@pytest.fixture
def jobs() -> Celery:
    """An app with one task."""
    app = Celery("upstream", broker="memory://", set_as_current=False)
    app.task(name="job", shared=False)(work)
    return app


def work(customer_id: str) -> None:
    """Do nothing."""


@pytest.fixture(autouse=True)
def _no_requests() -> Iterator[None]:
    """Remove the requests of the test from Celery's process-wide state."""
    yield
    state.active_requests.clear()
    state.reserved_requests.clear()


def request(app: Celery, task_id: str, **options: Any) -> Request:
    """Return Celery's request for a message with a secret argument."""
    made = app.amqp.as_task_v2(task_id, "job", args=("s3cr3t",), **options)
    message = Message(
        body=json.dumps(made.body),
        headers=made.headers,
        properties={"reply_to": "", "correlation_id": task_id},
        content_type="application/json",
        content_encoding="utf-8",
        delivery_info={},
    )
    return Request(message, app=app, task=app.tasks["job"])


def consumer(*queues: str) -> SimpleNamespace:
    """Return the parts of a worker's consumer that are read: its timer and its queues."""
    return SimpleNamespace(timer=Timer(), task_consumer=SimpleNamespace(queues=[Queue(name) for name in queues]))


def test_running_scheduled_and_reserved_attempts_are_listed(jobs: Celery) -> None:
    """Each has id and name as in Celery's own replies; no arguments are sent, and reserved is a number."""
    running, waiting, reserved = request(jobs, "1"), request(jobs, "2", eta=ETA), request(jobs, "3")
    running.time_start = 7.0
    state.active_requests.add(running)
    for each in (running, waiting, reserved):
        state.reserved_requests.add(each)
    worker = consumer("celery", "mail")
    worker.timer.call_at(1e10, print, (waiting,))
    worker.timer.call_at(1e10, print, ("not a request",))
    worker.timer.call_at(1e10, print)
    found = inspection(worker)
    assert found == {
        "active_queues": [{"name": "celery"}, {"name": "mail"}],
        "active": [{"id": "1", "type": "job", "time_start": 7.0}],
        "scheduled": [{"eta": ETA.isoformat(), "request": {"id": "2", "type": "job"}}],
        "reserved": 2,
    }
    assert "s3cr3t" not in json.dumps(found)


def test_a_worker_without_a_connection_has_no_queues() -> None:
    """While the consumer is not connected the list of queues is empty."""
    found = inspection(SimpleNamespace(timer=Timer(), task_consumer=None))
    assert found == {"active_queues": [], "active": [], "scheduled": [], "reserved": 0}


@pytest.mark.parametrize(("number", "keys"), [(MAX_TASKS, 4), (MAX_TASKS + 1, 0)])
def test_too_many_attempts_are_not_listed(number: int, keys: int) -> None:
    """Above ``MAX_TASKS`` the reply stays short, and a check sends the worker Celery's own commands."""
    worker = consumer("celery")
    for _ in range(number):
        worker.timer.call_at(1e10, print)
    assert len(inspection(worker)) == keys


def test_an_unreadable_state_is_an_empty_reply() -> None:
    """Whatever is missing in another version of Celery, ``stats`` is not broken."""
    assert inspection(SimpleNamespace()) == {}
