"""promtool checks the packaged Prometheus files, as ``celery-health-assets`` prints them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.support.assets import assets, packaged, rules
from tests.support.processes import ROOT
from tests.support.prometheus import promtool

TARGET_DOWN = "CeleryWorkerTargetDown"


def test_promtool_accepts_the_rules_of_every_namespace(tmp_path: Path) -> None:
    """``promtool check rules`` accepts the alerts with each combination of options."""
    options: list[list[str]] = [[], ["--namespace", ""], ["--namespace", "shop", "--window", "1m30s", "--for", "0s"]]
    options += [["--docs", "https://wiki.example/~celery?a=%20&b=", "--window", "52w"]]
    for extra in options:
        assets("alerts", *extra, "--output", str(tmp_path / "alerts.yml"))
        done = promtool(tmp_path, "check", "rules", "alerts.yml")
        assert done.returncode == 0, done.stderr
        assert "32 rules found" in done.stdout


def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    """``promtool test rules`` passes each case of ``alerts_test.yml``."""
    (tmp_path / "alerts.yml").write_text(packaged("prometheus/alerts.yml"))
    (tmp_path / "alerts_test.yml").write_text((ROOT / "tests" / "support" / "alerts_test.yml").read_text())
    done = promtool(tmp_path, "test", "rules", "alerts_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_scrape_jobs(tmp_path: Path) -> None:
    """Both scrape jobs are valid configurations (Debian's Prometheus lacks Kubernetes: discovery is cut out)."""
    hosts = assets("scrape", "--target", "web:8000", "--target", "[::1]:80", "--interval", "2s")
    pods = yaml.safe_load(assets("scrape", "--kubernetes", "web.shop", "--interval", "30s"))
    assert pods["scrape_configs"][0].pop("kubernetes_sd_configs") == [{"role": "pod"}]
    assert pods["scrape_configs"][0]["relabel_configs"][1]["regex"] == r"web\.shop"
    for text in (hosts, yaml.safe_dump(pods)):
        (tmp_path / "prometheus.yml").write_text(text)
        done = promtool(tmp_path, "check", "config", "--syntax-only", "prometheus.yml")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["-", "null", "yes", "1", "0x1", "1e3", ".", "2024-01-01", "--", "a/b.c"])
def test_names_that_yaml_could_read_as_other_types_stay_names(tmp_path: Path, name: str) -> None:
    """A job name like ``null`` or ``1e3`` is the same string in all four files, and promtool accepts them."""
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
