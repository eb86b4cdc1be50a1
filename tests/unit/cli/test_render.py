"""What hardly ever happens is answered all the same."""

from __future__ import annotations

from celery_health_bp import Settings
from celery_health_bp.cli.render import lines
from celery_health_bp.report import Observation, judge


def test_a_report_on_nothing_has_nothing_below_its_headline() -> None:
    """Without workers and queues the command shows the advice alone."""
    report = judge(Observation(0, 0), Settings(), "proj")
    assert [line.partition(":")[0] for line in lines(report, Settings(), verbose=False)] == ["Recommendation"]
