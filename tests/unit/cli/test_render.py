"""The text of the command."""

from __future__ import annotations

from celery_health_bp import Settings
from celery_health_bp.cli.render import lines
from celery_health_bp.report import Observation
from celery_health_bp.verdict import judge


def test_without_workers_and_queues_only_the_advice_is_shown() -> None:
    """Below the headline is the recommendation and nothing else."""
    report = judge(Observation(0, 0), Settings(), "proj")
    assert [line.partition(":")[0] for line in lines(report, Settings(), verbose=False)] == ["Recommendation"]
