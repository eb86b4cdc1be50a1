"""Names and lengths of queues, on the memory transport."""

from __future__ import annotations

import time

import pytest
from celery import Celery
from kombu import Queue

from celery_health_bp.asking.queues import NOT_KNOWN, declared_queues, read_lengths


@pytest.mark.parametrize(
    ("task_queues", "names"),
    [
        (None, {"celery"}),
        ([Queue("a"), Queue("b")], {"a", "b"}),
        ({"a": {"exchange": "a"}, "b": {"exchange": "b"}}, {"a", "b"}),
    ],
    ids=["none", "list", "dict"],
)
def test_declared_queues_are_found_in_every_form(task_queues: object, names: set[str]) -> None:
    """``task_queues`` may be missing, a list or a dict."""
    app = Celery(broker="memory://", set_as_current=False)
    app.conf.task_queues = task_queues
    assert declared_queues(app) == names


def test_lengths_are_read_until_the_deadline() -> None:
    """A queue without messages and one that does not exist have length 0; after the deadline a length is -1."""
    app = Celery(broker="memory://", set_as_current=False)
    for _ in range(3):
        app.send_task("job", queue="lengths-full")
    with app.connection_for_read() as connection:
        names = ["lengths-full", "lengths-missing"]
        assert read_lengths(connection, names) == {"lengths-full": 3, "lengths-missing": 0}
        assert read_lengths(connection, names, time.monotonic() - 1) == dict.fromkeys(names, NOT_KNOWN)
