"""How many of an app's registered tasks are counted."""

from __future__ import annotations

import logging

import pytest
from celery import Celery, signals

from celery_health_bp import MonitoredTask, monitor_task
from celery_health_bp.counting.registry import Registry
from celery_health_bp.notes import MAX_NAME, MAX_NAMES


class Starting:
    """A worker before its start, as receivers of ``worker_init`` see it."""

    def __init__(self, app: Celery) -> None:
        self.app = app


@pytest.fixture
def jobs() -> Celery:
    """The app of a worker with a monitored task, a decorated one and Celery's own."""
    app = Celery("upstream", broker="memory://", set_as_current=False)
    app.task(name="derived", base=MonitoredTask, shared=False)(work)
    app.task(name="decorated", shared=False)(monitor_task(work))
    for name in [name for name in app.tasks if not name.startswith("celery.")]:
        if name not in ("derived", "decorated"):
            del app.tasks[name]  # a shared task of an app that another test has imported
    signals.worker_init.send(sender=Starting(app))
    return app


def work(customer_id: str) -> None:
    """Do nothing."""


def test_tasks_of_both_forms_are_counted(jobs: Celery) -> None:
    """Base class and decorator are recognised, and Celery's own tasks are left out."""
    assert Registry(jobs).facts() == {"registered": 2, "counted": 2, "not_counted": []}


def test_a_task_that_is_registered_later_is_seen(jobs: Celery) -> None:
    """The facts change with the number of registered tasks."""
    registry = Registry(jobs)
    registry.facts()
    jobs.task(name="plain", shared=False)(work)
    assert registry.facts() == {"registered": 3, "counted": 2, "not_counted": ["plain"]}


def test_names_of_uncounted_tasks_are_bounded(jobs: Celery) -> None:
    """At most five names, sorted and cut, are part of a reply."""
    for number in range(20):
        jobs.task(name=f"plain{number:02}{'x' * 200}", shared=False)(work)
    found = Registry(jobs).facts()
    assert (found["registered"], found["counted"]) == (22, 2)
    assert [name[:7] for name in found["not_counted"]] == [f"plain{number:02}" for number in range(MAX_NAMES)]
    assert {len(name) for name in found["not_counted"]} == {MAX_NAME}


def test_a_monitored_task_with_another_request_is_not_counted(jobs: Celery, caplog: pytest.LogCaptureFixture) -> None:
    """Its attempts do not pass our request class; the log names the task and the class to derive from."""
    jobs.tasks["derived"].Request = "celery.worker.request:Request"
    registry = Registry(jobs)
    registry.log()
    assert registry.facts()["not_counted"] == ["derived"]
    assert caplog.messages == [
        "task derived is not counted: its Request must derive from celery_health_bp.counting.request:MonitoredRequest",
        "1 of 2 tasks is not counted (no MonitoredTask): derived",
    ]


def test_a_fully_counted_app_is_logged(jobs: Celery, caplog: pytest.LogCaptureFixture) -> None:
    """If nothing is missing, one line at level INFO has the number."""
    caplog.set_level(logging.INFO)
    Registry(jobs).log()
    assert caplog.messages == ["all 2 tasks are counted"]
