"""Prometheus scrapes two gunicorn processes in front of two workers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from celery import Celery

from celery_health_bp import MonitoredTask
from tests.support.assets import assets, panels, rules
from tests.support.processes import Process, Web, Worker, wait_until
from tests.support.prometheus import Prometheus, require_prometheus
from tests.support.servers import RedisServer

#: A short window for a short test. Prometheus still scrapes each series several times in it.
TIMES = ("--window", "10s")
GLOBAL = "global: {evaluation_interval: 1s}\nrule_files: [alerts.yml]\n"
DEADLINE = {"CELERY_HEALTH_TIMEOUT_SECONDS": "1"}  # less than the timeout of a scrape, even when no worker replies


@dataclass
class Site:
    """Workers, web server, and the Prometheus that scrapes it."""

    redis: RedisServer
    workers: list[Worker]
    web: Web
    prometheus: Prometheus
    client: Celery
    sent_at: dict[str, float] = field(default_factory=dict)

    def send(self, task: str, **kwargs: object) -> None:
        """Publish a job with its publishing time, at most three times a second for equal arguments."""
        key = task + repr(kwargs)
        if time.monotonic() - self.sent_at.get(key, 0) > 0.3:
            self.sent_at[key] = time.monotonic()
            self.client.tasks[f"tests.support.apps.jobs.{task}"].apply_async(kwargs={"customer_id": "acme", **kwargs})


def _published(customer_id: str, seconds: float = 0) -> None:
    """Give the client a task with this signature."""


@pytest.fixture
def start_site(
    redis: RedisServer,
    celery_app: Celery,
    start_worker: Callable[..., Worker],
    start_web: Callable[..., Web],
    started: list[Process],
    tmp_path: Path,
) -> Callable[..., Site]:
    """Return a function that starts a site: ``start_site(*options_of_the_alerts, **environ)``."""
    require_prometheus()
    for task in ("work", "fail", "retry", "kill"):
        celery_app.task(name=f"tests.support.apps.jobs.{task}", base=MonitoredTask, shared=False)(_published)

    def start(*options: str, **environ: str) -> Site:
        workers = [start_worker(redis.url, name=name, environ=environ) for name in ("worker1", "worker2")]
        web = start_web(redis.url, processes=2, environ={**environ, **DEADLINE})
        address = web.url.removeprefix("http://")
        config = GLOBAL + assets("scrape", "--target", address, "--interval", "2s")
        (tmp_path / "prometheus.yml").write_text(config)
        assets("alerts", *TIMES, *options, "--output", str(tmp_path / "alerts.yml"))
        started.append(prometheus := Prometheus(tmp_path))
        return Site(redis, workers, web, prometheus, celery_app)

    return start


def without_data(prometheus: Prometheus, expressions: dict[str, str]) -> set[str]:
    """Return the names of the expressions without data."""
    return {
        name
        for name, expression in expressions.items()
        if all(series["value"][1] == "NaN" for series in prometheus.query(expression))
    }


def dashboard_queries() -> dict[str, str]:
    """Return panel and legend -> query, with all variables set to All."""
    return {
        f"{panel['title']}: {target['legendFormat']}": re.sub(r"\$(job|task|queue)\b", ".*", target["expr"])
        for panel in panels(assets("dashboard", *TIMES))
        for target in panel["targets"]
    }


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("store", ["auto", "control"])
def test_every_recording_rule_and_dashboard_query_has_data(
    start_site: Callable[..., Site], store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With jobs of all kinds, each recording and panel has data, and targets and rules are healthy."""
    site = start_site(CELERY_HEALTH_METRICS_STORE=store)
    recorded = {
        rule["record"]: rule["record"] for rule in rules((tmp_path / "alerts.yml").read_text()) if "record" in rule
    }
    expressions = {**recorded, **dashboard_queries()}
    empty: list[set[str]] = []

    def all_have_data() -> bool:
        for task in ("work", "fail", "retry"):
            site.send(task)
        empty[:] = [without_data(site.prometheus, expressions)]
        return not empty[0]

    try:
        wait_until(all_have_data, "every expression has data", 60)
    except AssertionError as exc:
        raise AssertionError(f"no data: {empty}") from exc
    assert [target["health"] for target in site.prometheus.api("targets")["activeTargets"]] == ["up"]
    groups = site.prometheus.api("rules")["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
    with capsys.disabled():
        print(f"\n{store}: {site.prometheus.value('scrape_samples_scraped'):.0f} series in a scrape")


@dataclass
class Stopwatch:
    """Records when each alert was first seen pending and firing, in seconds after its fault."""

    site: Site
    seen: dict[str, dict[str, float]] = field(default_factory=dict)

    def until_firing(self, *alerts: str, load: Callable[[], None] = lambda: None, seconds: float = 60) -> None:
        """Wait until these alerts fire; call ``load`` repeatedly meanwhile."""
        began = time.monotonic()

        def all_fire() -> bool:
            load()
            states = self.site.prometheus.alerts()
            for alert in alerts:
                if alert in states:
                    self.seen.setdefault(alert, {}).setdefault(states[alert], time.monotonic() - began)
            return all("firing" in self.seen.get(alert, {}) for alert in alerts)

        try:
            wait_until(all_fire, f"{', '.join(alerts)} fire", seconds)
        except AssertionError as exc:
            raise AssertionError(f"{exc}; seen: {json.dumps(self.seen)}") from exc


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_alert_fires_on_its_fault(start_site: Callable[..., Site], capsys: pytest.CaptureFixture[str]) -> None:
    """A healthy fleet has no alert, each fault fires its own, and those with a ``for`` are pending first."""
    limits = ("--slow-seconds", "0.3", "--queue-length", "5", "--for", "2s")
    site = start_site(*limits, CELERY_HEALTH_QUEUES="celery,mail")
    watch = Stopwatch(site)

    def healthy() -> bool:
        site.send("work")
        return site.prometheus.value("sum(task:upstream_background_job_completed:rate10s)") > 0

    wait_until(healthy, "Prometheus sees jobs complete", 30)
    wait_until(lambda: site.prometheus.alerts() == {}, "a healthy fleet has no alert")

    def failing() -> None:
        site.send("fail")
        site.send("work", seconds=0.5)

    watch.until_firing("CeleryHighFailureRate", "CelerySlowTasks", load=failing)
    watch.until_firing("CeleryWorkerLost", load=lambda: site.send("kill"))
    for _ in range(8):
        site.client.send_task("tests.support.apps.jobs.work", queue="mail")
    watch.until_firing("CeleryHighQueueDepth", "CeleryQueueWithoutConsumer")
    for _ in range(8):
        site.client.send_task("tests.support.apps.jobs.work", kwargs={"seconds": 300})
    watch.until_firing("CeleryNothingCompletes")
    for worker in site.workers:
        worker.end(9)
    watch.until_firing("CeleryWorkersDown")
    site.redis.stop()
    watch.until_firing("CeleryHealthScrapeFailing")
    assert site.prometheus.alerts()["CeleryWorkersDown"] == "firing"
    site.web.end(9)
    watch.until_firing("CeleryWorkerTargetDown")

    assert {alert for alert, states in watch.seen.items() if "pending" not in states} <= {"CeleryWorkerLost"}
    with capsys.disabled():
        for alert, states in watch.seen.items():
            print(f"\n{alert}: " + ", ".join(f"{state} after {after:.1f} s" for state, after in states.items()), end="")
