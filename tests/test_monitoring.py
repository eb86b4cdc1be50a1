"""The packaged Prometheus and Grafana files, and the command that fills them in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from celery_health_bp.cli.assets import main
from celery_health_bp.monitoring import layout
from celery_health_bp.monitoring.panels import ROWS

from .processes import ROOT
from .prometheus import promtool

ALERTS = {
    "CeleryWorkersDown",
    "CeleryWorkerTargetDown",
    "CeleryHighFailureRate",
    "CelerySlowTasks",
    "CeleryHighQueueDepth",
    "CeleryQueueWithoutConsumer",
    "CeleryWorkerLost",
    "CeleryNothingCompletes",
    "CeleryStoreFailing",
    "CeleryHealthScrapeFailing",
}


TARGET_DOWN = "CeleryWorkerTargetDown"


def packaged(path: str) -> str:
    """A file of the package."""
    return files("celery_health_bp.monitoring").joinpath(path).read_text()


def assets(*arguments: str) -> str:
    """What ``celery-health-assets`` prints."""
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def rules(text: str) -> list[dict[str, Any]]:
    """The rules of all groups of a file."""
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def thresholds(text: str) -> dict[str, str]:
    """Threshold -> value."""
    return {
        rule["record"].rpartition(":")[2]: rule["expr"]
        for rule in rules(text)
        if ":threshold:" in rule.get("record", "")
    }


def panels(text: str) -> Iterator[dict[str, Any]]:
    """The panels of a dashboard that show something."""
    return (panel for panel in json.loads(text)["panels"] if panel["type"] != "row")


# -- Prometheus --


def test_promtool_accepts_the_rules_of_every_namespace(tmp_path: Path) -> None:
    """``promtool check rules`` finds no fault, whatever was filled in."""
    options: list[list[str]] = [[], ["--namespace", ""], ["--namespace", "shop", "--window", "1m30s", "--for", "0s"]]
    options += [["--docs", "https://wiki.example/~celery?a=%20&b=", "--window", "52w"]]
    for extra in options:
        assets("alerts", *extra, "--output", str(tmp_path / "alerts.yml"))
        done = promtool(tmp_path, "check", "rules", "alerts.yml")
        assert done.returncode == 0, done.stderr
        assert "32 rules found" in done.stdout


def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    """``promtool test rules`` agrees with every case of ``alerts_test.yml``."""
    (tmp_path / "alerts.yml").write_text(packaged("prometheus/alerts.yml"))
    (tmp_path / "alerts_test.yml").write_text((ROOT / "tests" / "alerts_test.yml").read_text())
    done = promtool(tmp_path, "test", "rules", "alerts_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    """No alert is without a test of both kinds."""
    cases = [
        case
        for group in yaml.safe_load((ROOT / "tests" / "alerts_test.yml").read_text())["tests"]
        for case in group.get("alert_rule_test", ())
    ]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == ALERTS
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == ALERTS


def test_each_alert_has_its_page_and_says_how_bad_it_is() -> None:
    """Every alert carries a severity, a summary, a description, and has a page; no link that leads nowhere."""
    alerts = [rule for rule in rules(packaged("prometheus/alerts.yml")) if "alert" in rule]
    assert {rule["alert"] for rule in alerts} == ALERTS
    for rule in alerts:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert (ROOT / "docs" / "alerts" / f"{rule['alert']}.md").is_file(), rule["alert"]


def test_every_series_of_the_exposition_is_joined_before_use() -> None:
    """No rule and no panel looks at a metric of ``/metrics`` without joining the replicas."""
    expressions = [rule["expr"] for rule in rules(packaged("prometheus/alerts.yml"))]
    expressions += [query for row in ROWS.values() for panel in row for query in panel.queries.values()]
    for expression in expressions:
        for metric in re.finditer(r"(?<![\w:])(celery_\w+|upstream_background_job_\w+)(?![\w:])", expression):
            before = expression[: metric.start()]
            assert re.search(r"(min|max)( \w+ \([\w, ]+\))? ?\((rate\()?$|} \* 2 or $", before), expression


def test_thresholds_follow_the_options_and_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option wins over the setting in the environment, and that over the packaged value."""
    packaged_values = {"failure_ratio": "0.1", "p95_seconds": "300", "queue_length": "1000", "workers": "1"}
    assert thresholds(assets("alerts")) == packaged_values
    monkeypatch.setenv("CELERY_HEALTH_QUEUE_LENGTH_THRESHOLD", "500")
    monkeypatch.setenv("CELERY_HEALTH_MIN_WORKERS", "3")
    given = assets("alerts", "--failure-ratio", "0.25", "--slow-seconds", "1.5", "--min-workers", "2")
    expected = {"failure_ratio": "0.25", "p95_seconds": "1.5", "queue_length": "500", "workers": "2"}
    assert thresholds(given) == expected


def test_without_options_the_packaged_files_are_printed() -> None:
    """What the command prints by default is what the package holds."""
    assert assets("alerts") == packaged("prometheus/alerts.yml")
    assert assets("scrape") == packaged("prometheus/scrape.yml")
    assert assets("scrape", "--kubernetes", "upstream") == packaged("prometheus/scrape-kubernetes.yml")
    assert assets("dashboard") == packaged("grafana/celery.json")


@pytest.mark.parametrize(("namespace", "prefix", "job"), [("shop", "shop_", "shop-celery"), ("", "", "celery")])
def test_names_follow_the_namespace_everywhere(namespace: str, prefix: str, job: str) -> None:
    """No rule, panel or scrape job keeps the packaged names."""
    printed = {name: assets(name, "--namespace", namespace) for name in ("alerts", "scrape", "dashboard")}
    for text in (printed["alerts"], printed["dashboard"]):
        assert "upstream" not in text
        assert re.findall(r"\w*background_job", text)
        assert set(re.findall(r"\w*background_job", text)) == {f"{prefix}background_job"}
    assert yaml.safe_load(printed["scrape"])["scrape_configs"][0]["job_name"] == job
    assert f'up{{job="{job}"}}' in printed["alerts"]


def test_times_and_runbooks_follow_the_options() -> None:
    """Window, ``for`` and the URL of the runbook pages are filled in everywhere, with a slash at its end or none."""
    text = assets("alerts", "--window", "1m", "--for", "30s", "--docs", "https://wiki.example/celery")
    assert text == assets("alerts", "--window", "1m", "--for", "30s", "--docs", "https://wiki.example/celery/")
    assert "5m" not in text
    assert {rule["for"] for rule in rules(text) if "for" in rule} == {"30s"}
    runbooks = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules(text) if "alert" in rule}
    assert runbooks == {alert: f"https://wiki.example/celery/{alert}.md" for alert in ALERTS}
    assert "5m" not in assets("dashboard", "--window", "1m")


def test_promtool_accepts_the_scrape_jobs(tmp_path: Path) -> None:
    """Both scrape jobs are whole configurations of Prometheus (Debian's knows no Kubernetes: discovery is cut out)."""
    hosts = assets("scrape", "--target", "web:8000", "--target", "[::1]:80", "--interval", "2s")
    pods = yaml.safe_load(assets("scrape", "--kubernetes", "web.shop", "--interval", "30s"))
    assert pods["scrape_configs"][0].pop("kubernetes_sd_configs") == [{"role": "pod"}]
    assert pods["scrape_configs"][0]["relabel_configs"][1]["regex"] == r"web\.shop"
    for text in (hosts, yaml.safe_dump(pods)):
        (tmp_path / "prometheus.yml").write_text(text)
        done = promtool(tmp_path, "check", "config", "--syntax-only", "prometheus.yml")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["-", "null", "yes", "1", "0x1", "1e3", ".", "2024-01-01", "--", "a/b.c"])
def test_names_that_yaml_takes_for_something_else_stay_names(tmp_path: Path, name: str) -> None:
    """Whatever the job is called, it is called so in all four files, and Prometheus reads them."""
    job, namespace = f"--job={name}", name if name in ("null", "yes") else "upstream"
    printed = [assets("scrape", job), assets("scrape", "--kubernetes", "yes", job)]
    for text in printed:
        assert yaml.safe_load(text)["scrape_configs"][0]["job_name"] == name
    assert yaml.safe_load(printed[1])["scrape_configs"][0]["relabel_configs"][1]["regex"] == "yes"
    (tmp_path / "prometheus.yml").write_text(printed[0])
    assets("alerts", job, "--namespace", namespace, "--output", str(tmp_path / "alerts.yml"))
    for command in (("config", "--syntax-only", "prometheus.yml"), ("rules", "alerts.yml")):
        done = promtool(tmp_path, "check", *command)
        assert done.returncode == 0, done.stderr
    (down,) = (rule for rule in rules((tmp_path / "alerts.yml").read_text()) if rule.get("alert") == TARGET_DOWN)
    assert down["expr"] == f'up{{job="{name}"}} == 0 or absent(up{{job="{name}"}})'
    assert json.loads(assets("dashboard", job, "--namespace", namespace))["title"].startswith("Celery")


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
    """Bad input exits with 2 and a sentence, and prints nothing on standard output."""
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in re.sub(r"\s+", " ", done.stderr)


def test_the_command_is_installed() -> None:
    """``celery-health-assets`` stands beside the interpreter and loads no Flask."""
    command = Path(sys.executable).parent / "celery-health-assets"
    done = subprocess.run([command, "scrape"], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == packaged("prometheus/scrape.yml")
    code = "import sys; import celery_health_bp.cli.assets; print('flask' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


# -- Grafana --


def test_the_dashboard_is_current() -> None:
    """The file in the package is what its source makes."""
    assert packaged("grafana/celery.json") == layout.text()


def test_every_panel_is_described_and_has_a_unit() -> None:
    """Each panel says what it shows, in which unit, from the data source of the variable."""
    shown = list(panels(packaged("grafana/celery.json")))
    assert len({panel["id"] for panel in shown}) == len(shown)
    for panel in shown:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"


def test_panels_do_not_overlap() -> None:
    """No two panels claim the same place of the grid."""
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(packaged("grafana/celery.json"))["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert place["x"] + place["w"] <= layout.COLUMNS
        taken |= cells


def test_the_dashboard_has_the_rows_and_variables_that_are_promised() -> None:
    """Rows by name; variables for data source, application, task and queue."""
    dashboard = json.loads(packaged("grafana/celery.json"))
    assert [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"] == list(ROWS)
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "job", "task", "queue"]
