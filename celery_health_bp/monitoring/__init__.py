"""The packaged Prometheus and Grafana files, with the user's namespace, thresholds and durations.

The packaged files are valid for the namespace ``upstream``. Values are filled in by replacing text, which
keeps the comments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

PACKAGED_METRIC = "upstream_background_job"
PACKAGED_JOB = "upstream-celery"
PACKAGED_WINDOW = "5m"
PACKAGED_INTERVAL = "scrape_interval: 15s"
PACKAGED_TIMEOUT = "scrape_timeout: 10s"
PACKAGED_TARGETS = '["upstream:8000"]'
UNITS_SECONDS: dict[str, float] = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
PACKAGED_POD_NAME = 'regex: "upstream"'


@dataclass(frozen=True)
class Names:
    """Names of the metrics and of the scrape job.

    Attributes:
        namespace: prefix of the job metrics, may be empty.
        job: name of the scrape job; ``None``: ``NAMESPACE-celery``.
    """

    namespace: str = "upstream"
    job: str | None = None

    @property
    def scrape_job(self) -> str:
        """The name of the scrape job."""
        return self.job or "-".join(filter(None, (self.namespace, "celery")))

    def fill_in(self, text: str) -> str:
        """Return the text with the packaged names replaced by these."""
        metric = "_".join(filter(None, (self.namespace, "background_job")))
        return text.replace(PACKAGED_METRIC, metric).replace(PACKAGED_JOB, self.scrape_job)


@dataclass(frozen=True)
class Thresholds:
    """When the alerts fire; ``None`` keeps the value of the packaged file.

    Attributes:
        failure_ratio: highest accepted share of failed attempts per task, from 0 to 1.
        p95_seconds: highest accepted 95th percentile of a task's duration, in seconds.
        queue_length: highest accepted number of waiting messages.
        workers: lowest accepted number of workers that reply.
        window: range of ``rate()``, as a Prometheus duration such as ``5m``.
        hold: value of every ``for``, as a Prometheus duration.
    """

    failure_ratio: float | None = None
    p95_seconds: float | None = None
    queue_length: int | None = None
    workers: int | None = None
    window: str = PACKAGED_WINDOW
    hold: str | None = None


def alerts(names: Names, thresholds: Thresholds, docs: str | None = None) -> str:
    """Return the recording rules and alerts, as YAML.

    Arguments:
        names: names of the metrics and of the scrape job.
        thresholds: when the alerts fire.
        docs: base URL of the pages of ``docs/alerts/``, for ``runbook_url``; ``None``: no ``runbook_url``.
    """
    text = _packaged("prometheus/alerts.yml")
    for name in ("failure_ratio", "p95_seconds", "queue_length", "workers"):
        value = getattr(thresholds, name)
        if value is not None:
            text = re.sub(rf'(:threshold:{name}\n +expr: )"[^"]*"', rf'\g<1>"{value:.10g}"', text)
    if thresholds.hold is not None:
        text = re.sub(r"(?m)^( +for: ).*$", rf"\g<1>{thresholds.hold}", text)
    text = text.replace(f"[{PACKAGED_WINDOW}]", f"[{thresholds.window}]")
    text = names.fill_in(_with_window(text, thresholds.window))
    return text if docs is None else _with_runbooks(text, docs)


def scrape(names: Names, targets: Sequence[str] = (), interval: str = "15s") -> str:
    """Return the scrape job for fixed targets, as YAML.

    Arguments:
        names: names of the metrics and of the scrape job.
        targets: ``host:port`` of each web process; empty: the packaged example.
        interval: time between two scrapes, as a Prometheus duration.
    """
    text = _scraped_every(interval, _packaged("prometheus/scrape.yml"))
    return names.fill_in(text.replace(PACKAGED_TARGETS, json.dumps(list(targets))) if targets else text)


def scrape_kubernetes(names: Names, pod_name: str = "upstream", interval: str = "15s") -> str:
    """Return the scrape job for Kubernetes pods, as YAML.

    Arguments:
        names: names of the metrics and of the scrape job.
        pod_name: value of the pods' label ``app.kubernetes.io/name``.
        interval: time between two scrapes, as a Prometheus duration.
    """
    text = _scraped_every(interval, _packaged("prometheus/scrape-kubernetes.yml"))
    pattern = json.dumps(pod_name.replace(".", r"\."))
    text = text.replace(PACKAGED_POD_NAME, f"regex: {pattern}")
    return names.fill_in(text.replace("name: upstream.", f"name: {pod_name}."))


def dashboard(names: Names, window: str = PACKAGED_WINDOW) -> str:
    """Return the Grafana dashboard, as JSON.

    Arguments:
        names: names of the metrics and of the scrape job.
        window: range of ``rate()``; the same as in ``alerts``, whose recordings the dashboard shows.
    """
    text = _packaged("grafana/celery.json").replace(f"[{PACKAGED_WINDOW}]", f"[{window}]")
    if names.namespace != "upstream":
        text = text.replace('"uid": "celery-health"', f'"uid": {json.dumps(_dashboard_id(names))}')
        title = " ".join(filter(None, ("Celery", names.namespace)))
        text = text.replace('"title": "Celery"', f'"title": {json.dumps(title)}')
    return names.fill_in(_with_window(text, window))


def seconds_of(duration: str) -> float:
    """Return the seconds of a Prometheus duration such as ``1h30m``."""
    return sum(float(number) * UNITS_SECONDS[unit] for number, unit in re.findall(r"(\d+)([a-z]+)", duration))


def _with_runbooks(text: str, docs: str) -> str:
    """Add ``runbook_url`` after the description of each alert."""
    url = docs if docs.endswith(("/", "=")) else f"{docs}/"
    alert = r"(- alert: (\w+)\n(?:(?!.*- alert: ).*\n)*?( +)description: .*\n)"
    return re.sub(alert, lambda m: f'{m[1]}{m[3]}runbook_url: "{url}{m[2]}.md"\n', text)


def _scraped_every(interval: str, text: str) -> str:
    """Set the interval, and lower the timeout if needed: Prometheus refuses a timeout above the interval."""
    if seconds_of(interval) < 10:
        text = text.replace(PACKAGED_TIMEOUT, f"scrape_timeout: {interval}")
    return text.replace(PACKAGED_INTERVAL, f"scrape_interval: {interval}")


def _dashboard_id(names: Names) -> str:
    """Return the dashboard's uid: Grafana allows 40 characters."""
    return f"celery-health-{names.namespace or 'all'}"[:40]


def _with_window(text: str, window: str) -> str:
    return text.replace(f"rate{PACKAGED_WINDOW}", f"rate{window}")


def _packaged(path: str) -> str:
    return files(__package__).joinpath(path).read_text(encoding="utf-8")
