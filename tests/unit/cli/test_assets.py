"""``celery-health-assets``: the packaged Prometheus and Grafana files with the user's names, times and limits."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from celery_health_bp.cli.assets import main
from dashboard.panels import ROWS
from tests.support.assets import ALERTS, assets, packaged, rules
from tests.support.processes import ROOT


def thresholds(text: str) -> dict[str, str]:
    """Return threshold -> value."""
    return {
        rule["record"].rpartition(":")[2]: rule["expr"]
        for rule in rules(text)
        if ":threshold:" in rule.get("record", "")
    }


def test_each_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    """``alerts_test.yml`` has a case of both kinds for each alert."""
    cases = [
        case
        for group in yaml.safe_load((ROOT / "tests" / "support" / "alerts_test.yml").read_text())["tests"]
        for case in group.get("alert_rule_test", ())
    ]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == ALERTS
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == ALERTS


def test_every_metric_is_joined_over_the_replicas() -> None:
    """Rules and panels aggregate over the web replicas, which serve the same totals, with ``max`` or ``min``."""
    expressions = [rule["expr"] for rule in rules(packaged("prometheus/alerts.yml"))]
    expressions += [query for row in ROWS.values() for panel in row for query in panel.queries.values()]
    for expression in expressions:
        for metric in re.finditer(r"(?<![\w:])(celery_\w+|upstream_background_job_\w+)(?![\w:])", expression):
            before = expression[: metric.start()]
            assert re.search(r"(min|max)( \w+ \([\w, ]+\))? ?\((rate\()?$|} \* 2 or $", before), expression


def test_thresholds_follow_the_options_and_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option wins over the environment, and the environment over the packaged value."""
    packaged_values = {"failure_ratio": "0.1", "p95_seconds": "300", "queue_length": "1000", "workers": "1"}
    assert thresholds(assets("alerts")) == packaged_values
    monkeypatch.setenv("CELERY_HEALTH_QUEUE_LENGTH_THRESHOLD", "500")
    monkeypatch.setenv("CELERY_HEALTH_MIN_WORKERS", "3")
    given = assets("alerts", "--failure-ratio", "0.25", "--slow-seconds", "1.5", "--min-workers", "2")
    expected = {"failure_ratio": "0.25", "p95_seconds": "1.5", "queue_length": "500", "workers": "2"}
    assert thresholds(given) == expected


def test_without_options_the_packaged_files_are_printed() -> None:
    """Without options the command prints the packaged file unchanged."""
    assert assets("alerts") == packaged("prometheus/alerts.yml")
    assert assets("scrape") == packaged("prometheus/scrape.yml")
    assert assets("scrape", "--kubernetes", "upstream") == packaged("prometheus/scrape-kubernetes.yml")
    assert assets("dashboard") == packaged("grafana/celery.json")


@pytest.mark.parametrize(("namespace", "prefix", "job"), [("shop", "shop_", "shop-celery"), ("", "", "celery")])
def test_names_follow_the_namespace_everywhere(namespace: str, prefix: str, job: str) -> None:
    """Rules, panels and scrape jobs have the names of the given namespace only."""
    printed = {name: assets(name, "--namespace", namespace) for name in ("alerts", "scrape", "dashboard")}
    for text in (printed["alerts"], printed["dashboard"]):
        assert "upstream" not in text
        assert re.findall(r"\w*background_job", text)
        assert set(re.findall(r"\w*background_job", text)) == {f"{prefix}background_job"}
    assert yaml.safe_load(printed["scrape"])["scrape_configs"][0]["job_name"] == job
    assert f'up{{job="{job}"}}' in printed["alerts"]


def test_times_and_runbooks_follow_the_options() -> None:
    """Every rule has the given window, ``for`` and runbook URL; a slash at the end of the URL is optional."""
    text = assets("alerts", "--window", "1m", "--for", "30s", "--docs", "https://wiki.example/celery")
    assert text == assets("alerts", "--window", "1m", "--for", "30s", "--docs", "https://wiki.example/celery/")
    assert "5m" not in text
    assert {rule["for"] for rule in rules(text) if "for" in rule} == {"30s"}
    runbooks = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules(text) if "alert" in rule}
    assert runbooks == {alert: f"https://wiki.example/celery/{alert}.md" for alert in ALERTS}
    assert "5m" not in assets("dashboard", "--window", "1m")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["alerts", "--namespace", "my-shop"], "namespace='my-shop' is not allowed: give letters"),
        (["alerts", "--failure-ratio", "nan"], "'nan' is not a number from 0 to 1"),
        (["alerts", "--failure-ratio", "some"], "'some' is not a number from 0 to 1"),
        (["alerts", "--slow-seconds", "0"], "'0' is not a number above 0"),
        (["alerts", "--window", "5"], "'5' is not a duration above 0 such as"),
        (["alerts", "--for", "soon"], "'soon' is not a duration such as"),
        (["alerts", "--docs", "docs/alerts/"], "'docs/alerts/' is not a URL such as https://wiki.example/celery/"),
        (["alerts", "--docs", 'https://a"b'], "is not a URL such as"),
        (["alerts", "--window", "9999w"], "'9999w' is not a duration above 0"),
        (["alerts", "--for", "366d"], "'366d' is not a duration such as"),
        (["alerts", "--slow-seconds", "1e10"], "'1e10' is not a number above 0 and at most 86400"),
        (["alerts", "--queue-length", "99999999999"], "is not allowed: give a whole number"),
        (["scrape", "--target", "web"], "'web' is not a host and a port such as web:8000"),
        (["scrape", "--target", "web:80", "--kubernetes", "web"], "--target and --kubernetes exclude each other"),
        (["dashboard", "--output", "/nowhere/at/all.json"], "/nowhere/at/all.json cannot be written: No such file"),
        (["everything"], "No such command 'everything'"),
    ],
)
def test_wrong_usage_is_2_and_says_what_is_allowed(arguments: list[str], message: str) -> None:
    """Wrong usage exits with 2, explains itself on standard error and leaves standard output empty."""
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in re.sub(r"\s+", " ", done.stderr)


def test_the_command_is_installed() -> None:
    """``celery-health-assets`` is installed beside the interpreter, and its module does not load Flask."""
    command = Path(sys.executable).parent / "celery-health-assets"
    done = subprocess.run([command, "scrape"], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == packaged("prometheus/scrape.yml")
    code = "import sys; import celery_health_bp.cli.assets; print('flask' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"
