"""The layout of the dashboard: variables, and a grid of rows and panels, in Grafana's JSON model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .panels import METRIC, ROWS, TARGET, Panel

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24  # width of Grafana's grid


def _variable(name: str, label: str, metric: str, key: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": f"label_values({metric}, {key})", "refId": name},
        "refresh": 2,  # when the time range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


VARIABLES: list[dict[str, Any]] = [
    {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
    _variable("job", "Application", "celery_health_status", "job"),
    _variable("task", "Task", f"task:{METRIC}_started:sum{{{TARGET}}}", "task_name"),
    _variable("queue", "Queue", f"celery_queue_length{{{TARGET}}}", "queue_name"),
]


def _targets(panel: Panel) -> list[dict[str, Any]]:
    return [
        {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
        for index, (legend, expression) in enumerate(panel.queries.items())
    ]


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    defaults = {"unit": panel.unit, **({} if panel.stat else {"min": 0}), **panel.options}
    return {
        "id": number,
        "type": "stat" if panel.stat else "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": _targets(panel),
    }


def _grid() -> Iterator[dict[str, Any]]:
    """Yield each row, followed by its panels side by side."""
    number, top = 0, 0
    for title, panels in ROWS.items():
        number += 1
        place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": place}
        width, height = COLUMNS // len(panels), 4 if panels[0].stat else 8
        for column, panel in enumerate(panels):
            number += 1
            yield _panel(panel, number, {"x": column * width, "y": top + 1, "w": width, "h": height})
        top += 1 + height


def dashboard() -> dict[str, Any]:
    """Return the dashboard for the namespace ``upstream``, as Grafana imports it."""
    return {
        "title": "Celery",
        "uid": "celery-health",
        "description": "Needs the recording rules of alerts.yml (celery-health-assets alerts).",
        "tags": ["celery"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": VARIABLES},
        "panels": list(_grid()),
    }


def text() -> str:
    """Return the content of the file."""
    return json.dumps(dashboard(), indent=2) + "\n"
