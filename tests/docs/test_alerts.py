"""The packaged Prometheus and Grafana files, and the command that fills them in."""

from __future__ import annotations

from tests.support.assets import ALERTS, packaged, rules
from tests.support.processes import ROOT


def test_each_alert_has_its_page_and_says_how_bad_it_is() -> None:
    """Every alert carries a severity, a summary, a description, and has a page; no link that leads nowhere."""
    alerts = [rule for rule in rules(packaged("prometheus/alerts.yml")) if "alert" in rule]
    assert {rule["alert"] for rule in alerts} == ALERTS
    for rule in alerts:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert (ROOT / "docs" / "alerts" / f"{rule['alert']}.md").is_file(), rule["alert"]
