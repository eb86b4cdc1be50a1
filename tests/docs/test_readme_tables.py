"""The tables and the JSON of the README are those of the code."""

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
from flask import Flask

import celery_health_bp
from celery_health_bp import CeleryHealth, Settings, create_blueprint
from celery_health_bp.asking.broker import REASONS
from celery_health_bp.counts import COUNTERS, HISTOGRAMS, Counts, Histogram, Series
from celery_health_bp.notes import partly_counted
from celery_health_bp.report import NO_WORKERS, Observation, Queue, RunningTask, ScheduledTask, TaskFacts, Worker, judge
from celery_health_bp.schemas import error_body, health_body, stats_body, tasks_body
from celery_health_bp.web.collector import job_families
from tests.support.readme import METRICS, README, blocks, table

# -- tables --


def test_settings_table_is_that_of_settings() -> None:
    """Each setting stands in the table with its default, in the order of the class."""
    settings = Settings()
    documented = {row[0].strip("`"): ast.literal_eval(row[1].strip("`")) for row in table("setting")}
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
    for name, _, labels in METRICS[:8]:
        assert real.get(name, real.get(f"{name}_sum")) == labels, name


def test_exit_codes_are_those_of_the_command() -> None:
    """0 for healthy and degraded, 1 for unhealthy, 2 for usage."""
    from celery_health_bp.cli.command import EXIT_CODES, EXIT_USAGE

    documented = {row[0]: row[1] for row in table("exit code")}
    assert {str(code) for code in EXIT_CODES.values()} | {str(EXIT_USAGE)} == set(documented)
    assert all(status in documented[str(code)] for status, code in EXIT_CODES.items())


@pytest.mark.parametrize(("what", "advice"), [(what, advice) for _, what, advice in REASONS])
def test_troubles_with_the_broker_are_listed(what: str, advice: str) -> None:
    """Each reason of a broker's failure stands in the table with its advice."""
    assert ["Broker ... `" + what + "`", f"`{advice}`"] in table("the answer says")


def test_error_codes_are_those_of_the_code() -> None:
    """The README lists each code that an error body can have."""
    sources = "".join(path.read_text() for path in Path(celery_health_bp.__file__).parent.rglob("*.py"))
    codes = re.findall(r'(?:Refusal\(\d+, |error_body\(|code = )"(\w+)"', sources)
    listed = re.findall(r"`(\w+)`", README.split("\nCodes: ", 1)[1].split("\n\n", 1)[0])
    assert sorted(listed) == sorted(set(codes))


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
    """Error and advice of each verdict stand in the table, numbers written as N."""
    report = judge(Observation(0.0, 0.0, workers, {"NAME": queue}), Settings(min_workers=min_workers), "upstream")
    problem, _, advice = report.recommendations[0].rpartition(": ") if not report.error else (report.error, "", "")
    if report.recommendations[0].startswith("Queue") and "celery -A" in report.recommendations[0]:
        problem, advice = report.recommendations[0].split(": ", 1)
    rows = {row[0].strip("`"): row[1] for row in table("the answer says")}
    assert re.sub(r"\d+", "N", problem) in rows
    assert advice in rows[re.sub(r"\d+", "N", problem)]


# -- JSON --


def _shape(value: Any, key: str = "") -> Any:
    """Keys and types, without the values; queues and task names are no keys."""
    if isinstance(value, dict):
        parts = {name: _shape(part, name) for name, part in value.items()}
        return next(iter(parts.values()), None) if key in ("queues", "by_task_name") else parts
    if isinstance(value, list):
        return [_shape(value[0])] if value else []
    return type(value).__name__


def _bodies() -> list[dict[str, Any]]:
    """What the code answers, in the order of the README."""
    task = {"worker": "w@h", "task_name": "t", "task_id": "i"}
    running, scheduled = RunningTask(**task, time_start=1.5), ScheduledTask(**task, eta="2024-01-28T10:30:00+00:00")
    worker = Worker("w@h", "prefork", 2, (71, 72), ("q",), 3600.0, (running,), (scheduled,), 0)
    worker = replace(worker, tasks=TaskFacts(2, 1, ("t",)))
    others = (Worker("w@elsewhere", application="billing"),)
    healthy = Observation(
        time.time(), 0.1, (worker,), {"q": Queue(5, 1)}, not_known=partly_counted([worker]), others=others
    )
    nobody = Observation(time.time(), 0.1, (), {"q": Queue(-1, None)})
    report = judge(healthy, Settings(), "upstream")
    return [
        health_body(report),
        health_body(judge(nobody, Settings(), "upstream")),
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
def test_json_blocks_have_the_keys_of_the_answers(number: int) -> None:
    """Each JSON block has exactly the keys and types that the code answers."""
    shown = [json.loads(block) for block in blocks("json")]
    assert len(shown) == 7
    assert _shape(shown[number]) == _shape(_bodies()[number])


def test_unhealthy_block_is_the_answer_itself() -> None:
    """The body without workers is, word for word, what the code answers."""
    shown = json.loads(blocks("json")[1])
    body = health_body(judge(Observation(0.0, 0.0, (), {"celery": Queue(-1, None)}), Settings(), "upstream"))
    assert shown == body
    assert shown["workers"]["error"] == NO_WORKERS
