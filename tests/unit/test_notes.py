"""Sentences about workers that do not count all their tasks."""

from __future__ import annotations

from celery_health_bp.notes import partly_counted
from celery_health_bp.report import TaskFacts, Worker


def test_workers_with_the_same_uncounted_tasks_share_a_sentence() -> None:
    """A thousand such workers make one sentence, which names five of them."""
    forgotten = TaskFacts(3, 2, ("jobs.a",))
    workers = [Worker(f"w{n:03}@h", monitored=True, tasks=forgotten) for n in range(1000)]
    assert partly_counted(workers) == (
        "w000@h, w001@h, w002@h, w003@h, w004@h and 995 more: 1 of 3 tasks is not counted (no MonitoredTask): jobs.a",
    )
