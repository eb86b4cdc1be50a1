"""The packaged alerts and their pages."""

from __future__ import annotations

from tests.support.assets import ALERTS, packaged, rules
from tests.support.processes import ROOT


def test_each_alert_has_a_page_and_a_severity() -> None:
    """Each alert has a severity, a summary, a description and a page, and no other annotation."""
    alerts = [rule for rule in rules(packaged("prometheus/alerts.yml")) if "alert" in rule]
    assert {rule["alert"] for rule in alerts} == ALERTS
    for rule in alerts:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert (ROOT / "docs" / "alerts" / f"{rule['alert']}.md").is_file(), rule["alert"]
