"""The rows and panels of the dashboard, with their queries.

Most queries use the recording rules of ``alerts.yml``. The others aggregate the replicas the same way:
``max without (instance, pod)``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

METRIC = "upstream_background_job"
TARGET = 'job=~"$job"'
TASK = 'job=~"$job", task_name=~"$task"'
QUEUE = 'job=~"$job", queue_name=~"$queue"'


class Panel(NamedTuple):
    """A panel with one or several queries.

    Attributes:
        title: title of the panel.
        description: shown when the user hovers over the panel.
        unit: Grafana's id of the unit.
        queries: legend -> PromQL expression.
        stat: a single number instead of a graph.
        options: additional field options of Grafana.
    """

    title: str
    description: str
    unit: str
    queries: dict[str, str]
    stat: bool = False
    options: dict[str, Any] = {}  # noqa: RUF012  (never modified)


def _joined(metric: str, labels: str) -> str:
    return f"max without (instance, pod) ({metric}{{{labels}}})"


def _by_task(recording: str) -> dict[str, str]:
    return {"{{task_name}}": f"sum by (task_name) (task:{METRIC}_{recording}{{{TASK}}})"}


def _quantile(metric: str, quantile: str) -> dict[str, str]:
    return {"{{task_name}}": f"max by (task_name) (task:{METRIC}_{metric}_seconds:{quantile}_rate5m{{{TASK}}})"}


def _rate_by(label: str, counter: str) -> str:
    return f"sum by ({label}) (max without (instance, pod) (rate({METRIC}_{counter}_total{{{TASK}}}[5m])))"


def _number(title: str, description: str, expression: str, unit: str = "short") -> Panel:
    return Panel(title, description, unit, {title: expression}, stat=True)


STATUS: dict[str, Any] = {
    "mappings": [
        {
            "type": "value",
            "options": {
                "0": {"text": "healthy", "color": "green", "index": 0},
                "1": {"text": "degraded", "color": "orange", "index": 1},
                "2": {"text": "unhealthy", "color": "red", "index": 2},
            },
        }
    ]
}

ROWS: dict[str, list[Panel]] = {
    "Overview": [
        Panel(
            "Status",
            "The verdict of health/. The worst one, if several applications are selected.",
            "short",
            {
                "Status": f'max(celery_health_status{{{TARGET}, status="unhealthy"}} * 2'
                f' or celery_health_status{{{TARGET}, status="degraded"}})'
            },
            stat=True,
            options=STATUS,
        ),
        _number("Workers", "Workers that answer.", f"sum({_joined('celery_workers', TARGET)})"),
        _number("Running", "Attempts in a pool process now.", f"sum({_joined('celery_worker_tasks_active', TARGET)})"),
        _number(
            "Scheduled",
            "Messages that wait in a worker for their ETA.",
            f"sum({_joined('celery_worker_tasks_scheduled', TARGET)})",
        ),
        _number(
            "Success ratio",
            "Completed by started attempts; retries lower it.",
            f"clamp_max(sum(task:{METRIC}_completed:rate5m{{{TASK}}})"
            f" / sum(task:{METRIC}_started:rate5m{{{TASK}}}), 1)",
            "percentunit",
        ),
        _number(
            "Alerts",
            "Alerts of alerts.yml that fire now, of any application.",
            'count(ALERTS{alertname=~"Celery.+", alertstate="firing"}) or vector(0)',
        ),
    ],
    "Throughput": [
        Panel("Started", "Attempts that a pool process accepted.", "ops", _by_task("started:rate5m")),
        Panel("Completed", "Attempts that returned.", "ops", _by_task("completed:rate5m")),
        Panel(
            "Retried",
            "Attempts that asked for a retry, by the error that caused it.",
            "ops",
            {"{{task_name}} {{error_type}}": _rate_by("task_name, error_type", "retried")},
        ),
    ],
    "Failures by error type": [
        Panel(
            "Failures",
            "Attempts that failed for good. WorkerLostError: the process died; TimeLimitExceeded: it was killed.",
            "ops",
            {"{{error_type}}": f"sum by (error_type) (task_error:{METRIC}_failed:rate5m{{{TASK}}})"},
        ),
        Panel(
            "Failure ratio",
            "Failed by started attempts; CeleryHighFailureRate fires above the line.",
            "percentunit",
            {
                "{{task_name}}": f"max by (task_name) (task:{METRIC}:failure_ratio_rate5m{{{TASK}}})",
                "threshold": f"max({METRIC}:threshold:failure_ratio)",
            },
        ),
    ],
    "Duration of completed attempts": [
        Panel("p50", "Half of the attempts take no longer.", "s", _quantile("duration", "p50")),
        Panel(
            "p95",
            "95 of 100 attempts take no longer; CelerySlowTasks fires above the line.",
            "s",
            {**_quantile("duration", "p95"), "threshold": f"max({METRIC}:threshold:p95_seconds)"},
        ),
        Panel("p99", "99 of 100 attempts take no longer.", "s", _quantile("duration", "p99")),
    ],
    "Queues": [
        Panel(
            "Length",
            "Messages waiting, without those that workers have prefetched; CeleryHighQueueDepth fires above the line.",
            "short",
            {
                "{{queue_name}}": f"max by (queue_name) (celery_queue_length{{{QUEUE}}})",
                "threshold": f"max({METRIC}:threshold:queue_length)",
            },
        ),
        Panel(
            "Consumers",
            "Workers that consume the queue. None while messages wait: CeleryQueueWithoutConsumer.",
            "short",
            {"{{queue_name}}": f"max by (queue_name) (celery_queue_consumers{{{QUEUE}}})"},
        ),
    ],
    "Queue wait": [
        Panel("Wait p50", "From publishing (or the ETA) to start.", "s", _quantile("queue_wait", "p50")),
        Panel("Wait p95", "95 of 100 attempts wait no longer.", "s", _quantile("queue_wait", "p95")),
    ],
    "Workers": [
        Panel(
            "Up",
            "1 while the worker answers, and while the store accepts its job counts (CeleryStoreFailing).",
            "short",
            {
                "{{hostname}}": _joined("celery_worker_up", TARGET),
                "{{hostname}} to its store": _joined("celery_worker_store_up", TARGET),
            },
        ),
        Panel(
            "Busy",
            "Running attempts by size of the pool: more workers help when it stays at 100 %.",
            "percentunit",
            {
                "{{hostname}}": f"{_joined('celery_worker_tasks_active', TARGET)}"
                f" / {_joined('celery_worker_pool_size', TARGET)}"
            },
        ),
        Panel(
            "Prefetched",
            "Messages that a worker holds and has not started.",
            "short",
            {"{{hostname}}": _joined("celery_worker_tasks_reserved", TARGET)},
        ),
        Panel(
            "Time to read each source",
            "What a scrape costs; a source that cannot be read is named by CeleryHealthScrapeFailing.",
            "s",
            {"{{source}}": f"max by (source) (celery_health_scrape_duration_seconds{{{TARGET}}})"},
        ),
    ],
    "Customers": [
        Panel(
            "Top 10 by attempts",
            "Customers with most attempts; other: all beyond max_customers.",
            "ops",
            {"{{customer_id}}": f"topk(10, {_rate_by('customer_id', 'started')})"},
        ),
        Panel(
            "Top 10 by failures",
            "Customers with most failed attempts.",
            "ops",
            {"{{customer_id}}": f"topk(10, {_rate_by('customer_id', 'failed')})"},
        ),
    ],
}
