"""The tables and the JSON of ``docs/reference/`` match the code."""

from __future__ import annotations

import ast
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from flask import Flask

import celery_health_bp
from celery_health_bp import CeleryHealth, Settings, create_blueprint
from celery_health_bp.asking.broker import REASONS
from celery_health_bp.cli.options import OPTIONS
from celery_health_bp.counting.ledger import Outcome
from celery_health_bp.counting.outcomes import (
    CANCELLED,
    COMPLETED,
    EXPIRED,
    REVOKED,
    TERMINATED,
    TIMED_OUT,
    WORKER_LOST,
    outcome_of,
)
from celery_health_bp.counts import COUNTERS, HISTOGRAMS, Counts, Histogram, Series
from celery_health_bp.notes import partly_counted
from celery_health_bp.report import Observation, Queue, RunningTask, ScheduledTask, TaskFacts, Worker
from celery_health_bp.schemas import error_body, health_body, stats_body, tasks_body
from celery_health_bp.verdict import NO_WORKERS, judge
from celery_health_bp.web.api import Api
from celery_health_bp.web.collector import job_families
from tests.support.pages import JOB_METRICS, blocks, table

MESSAGES = table("reference/errors.md", "message")
JSON = [json.loads(block) for block in blocks("reference/endpoints.md", "json")]

# -- tables --


def test_settings_table_is_that_of_settings() -> None:
    """The table has each setting with its default, in the order of the class."""
    settings = Settings()
    documented = {
        row[0].strip("`"): ast.literal_eval(row[1].strip("`")) for row in table("reference/settings.md", "setting")
    }
    assert documented == {name: getattr(settings, name) for name in Settings.__dataclass_fields__}
    assert list(documented) == list(Settings.__dataclass_fields__)


def test_metric_table_has_the_labels_of_the_job_metrics() -> None:
    """The labels of each job metric are those of its samples."""
    counts = Counts()
    for kind, detail in COUNTERS.items():
        counts.counters[Series(kind, "task", detail or "", "customer")] = 1
    for name in HISTOGRAMS:
        counts.histograms[name, "task"] = Histogram()
    families = job_families([(None, counts)], "upstream", (1.0,))
    real = {sample.name: set(sample.labels) for family in families for sample in family.samples}
    for name, _, labels in JOB_METRICS:
        assert real.get(name, real.get(f"{name}_sum")) == labels, name


def test_exit_codes_are_those_of_the_command() -> None:
    """The table has each exit code with its statuses."""
    from celery_health_bp.cli.command import EXIT_CODES, EXIT_USAGE

    documented = {row[0]: row[1] for row in table("reference/command.md", "exit code")}
    assert {str(code) for code in EXIT_CODES.values()} | {str(EXIT_USAGE)} == set(documented)
    assert all(status in documented[str(code)] for status, code in EXIT_CODES.items())


@pytest.mark.parametrize(("what", "advice"), [(what, advice) for _, what, advice in REASONS])
def test_errors_of_the_broker_are_listed(what: str, advice: str) -> None:
    """The table has each error of a broker with its advice."""
    assert ["Broker ... `" + what + "`", f"`{advice}`"] in MESSAGES


def test_error_codes_are_those_of_the_code() -> None:
    """The table lists each code of an error body, with its status."""
    sources = "".join(path.read_text() for path in Path(celery_health_bp.__file__).parent.rglob("*.py"))
    codes = re.findall(r'(?:(?:Refusal|error_response)\(\d+, |code = )"(\w+)"', sources)
    listed = {row[0].strip("`"): row[1] for row in table("reference/endpoints.md", "code")}
    assert listed.keys() == set(codes)
    refusals = dict(reversed(pair) for pair in re.findall(r'(?:Refusal|error_response)\((\d+), "(\w+)"', sources))
    assert {code: listed[code] for code in refusals} == refusals


def test_endpoints_are_those_of_the_api() -> None:
    """The table has each path below the prefix."""
    listed = [re.search(r"`(.+)/`", row[0])[1] for row in table("reference/endpoints.md", "path")]  # type: ignore[index]
    assert listed == list(Api(CeleryHealth(Celery)).endpoints)


def test_options_are_those_of_the_command() -> None:
    """The table has each option, in the order of the command's help."""
    listed = [re.search(r"--\w+", row[0])[0] for row in table("reference/command.md", "option")]  # type: ignore[index]
    assert listed == [option.opts[0] for option in OPTIONS]


@pytest.mark.parametrize(
    "outcome",
    [
        COMPLETED,
        TIMED_OUT,
        WORKER_LOST,
        TERMINATED,
        CANCELLED,
        REVOKED,
        EXPIRED,
        *(outcome_of(exc) for exc in (SoftTimeLimitExceeded(), Ignore(), Reject(), Reject(requeue=True))),
    ],
    ids=str,
)
def test_ends_of_attempts_are_listed(outcome: Outcome) -> None:
    """Each way an attempt can end has a row with its counter and its label."""
    ends = [end for _, end in table("reference/counting.md", "attempt")]
    assert any(end.startswith(outcome.kind) and (not outcome.detail or f"`{outcome.detail}`" in end) for end in ends)


def _worker(**values: Any) -> Worker:
    return Worker("NAME", **{"queues": ("celery",), "running": (), "scheduled": (), **values})


@pytest.mark.parametrize(
    ("workers", "queue", "min_workers"),
    [
        ((), Queue(0, 0), 1),
        ((_worker(),), Queue(0, 1), 2),
        ((_worker(queues=()),), Queue(0, 0), 1),
        ((_worker(),), Queue(1001, 1), 1),
        ((_worker(),), Queue(7, 0), 1),
    ],
)
def test_recommendations_are_listed(workers: tuple[Worker, ...], queue: Queue, min_workers: int) -> None:
    """The table has error and advice of each report, with N for numbers."""
    report = judge(Observation(0.0, 0.0, workers, {"NAME": queue}), Settings(min_workers=min_workers), "upstream")
    problem, _, advice = report.recommendations[0].rpartition(": ") if not report.error else (report.error, "", "")
    if report.recommendations[0].startswith("Queue") and "celery -A" in report.recommendations[0]:
        problem, advice = report.recommendations[0].split(": ", 1)
    rows = {row[0].strip("`"): row[1] for row in MESSAGES}
    assert re.sub(r"\d+", "N", problem) in rows
    assert advice in rows[re.sub(r"\d+", "N", problem)]


# -- JSON --


def _shape(value: Any, key: str = "") -> Any:
    """Return keys and types instead of values; names of queues and tasks do not count as keys."""
    if isinstance(value, dict):
        parts = {name: _shape(part, name) for name, part in value.items()}
        return next(iter(parts.values()), None) if key in ("queues", "by_task_name") else parts
    if isinstance(value, list):
        return [_shape(value[0])] if value else []
    return type(value).__name__


def _bodies() -> list[dict[str, Any]]:
    """Return the bodies that the code makes, in the order of the page."""
    task = {"worker": "w@h", "task_name": "t", "task_id": "i"}
    running, scheduled = RunningTask(**task, time_start=1.5), ScheduledTask(**task, eta="2024-01-28T10:30:00+00:00")
    worker = Worker("w@h", "prefork", 2, (71, 72), ("q",), 3600.0, (running,), (scheduled,), 0)
    worker = replace(worker, tasks=TaskFacts(2, 1, ("t",)))
    others = (Worker("w@elsewhere", application="billing"),)
    healthy = Observation(
        time.time(), 0.1, (worker,), {"q": Queue(5, 1)}, not_known=partly_counted([worker]), others=others
    )
    no_workers = Observation(time.time(), 0.1, (), {"q": Queue(-1, None)})
    report = judge(healthy, Settings(), "upstream")
    return [
        health_body(report),
        health_body(judge(no_workers, Settings(), "upstream")),
        {"details": health_body(report, verbose=True)["details"]},
        _live(),
        tasks_body([running], [scheduled], 10),
        stats_body(healthy),
        error_body("code", "message"),
    ]


def _live() -> dict[str, Any]:
    app = Flask("web")
    app.register_blueprint(create_blueprint(CeleryHealth(Celery)))
    body: dict[str, Any] = app.test_client().get("/health/live/").json
    return body


@pytest.mark.parametrize("number", range(7))
def test_json_blocks_have_the_keys_of_the_bodies(number: int) -> None:
    """Each JSON block has exactly the keys and types of the code's body."""
    assert len(JSON) == 7
    assert _shape(JSON[number]) == _shape(_bodies()[number])


def test_unhealthy_block_is_the_body_itself() -> None:
    """The block without workers equals the code's body, word for word."""
    body = health_body(judge(Observation(0.0, 0.0, (), {"celery": Queue(-1, None)}), Settings(), "upstream"))
    assert JSON[1] == body
    assert body["workers"]["error"] == NO_WORKERS
