"""Values of ``customer_id``: whatever a job carries, the exposition stays sound and bounded."""

from __future__ import annotations

from celery import Celery

from celery_health_bp import Settings
from celery_health_bp.counting.recorder import Recorder


def test_a_task_registered_anew_is_looked_at_anew() -> None:
    """The customer is found by the signature of the task that runs, not of an earlier one of its name."""

    def first(customer_id: str, other: str) -> None: ...
    def second(other: str, customer_id: str) -> None: ...

    apps = [Celery(set_as_current=False) for _ in range(2)]
    tasks = [app._task_from_fun(run, name="job") for app, run in zip(apps, (first, second), strict=True)]
    recorder = Recorder(Settings(), None)
    assert [recorder.finder(task).find(["a", "b"], {}) for task in (*tasks, tasks[0])] == ["a", "b", "a"]
