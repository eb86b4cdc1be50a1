"""The packaged Prometheus and Grafana files, and the command that prints them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import yaml
from click.testing import CliRunner

from celery_health_bp.cli.assets import main

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


def packaged(path: str) -> str:
    """Return the text of a packaged file."""
    return files("celery_health_bp.monitoring").joinpath(path).read_text()


def assets(*arguments: str) -> str:
    """Return what ``celery-health-assets`` prints."""
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def rules(text: str) -> list[dict[str, Any]]:
    """Return the rules of all groups of a file."""
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def panels(text: str) -> Iterator[dict[str, Any]]:
    """Return the panels of a dashboard, without its rows."""
    return (panel for panel in json.loads(text)["panels"] if panel["type"] != "row")
