"""A report as text for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from ..report import HealthReport, Observation
from ..settings import Settings


def headline(report: HealthReport, settings: Settings) -> str:
    """The verdict and why, on one line."""
    count = len(report.active_workers)
    workers = f"{count} worker{'s' if count != 1 else ''} answer{'s' if count == 1 else ''}"
    if report.error:
        why = report.error
    elif report.recommendations:
        why = f"{workers}; {report.recommendations[0]}"
    else:
        why = f"{workers}, no queue is longer than {settings.queue_length_threshold}"
    return f"{report.status.upper()}: {why}"


def lines(report: HealthReport, *, verbose: bool) -> list[str]:
    """What stands below the headline."""
    text = []
    if report.queues:
        queues = (f"{name} {'not known' if n < 0 else n}" for name, n in report.queues.items())
        text.append(f"Queues: {', '.join(queues)}")
    if report.active_workers:
        text.append(f"Workers: {', '.join(report.active_workers)}")
    text += [f"Recommendation: {advice}" for advice in report.recommendations]
    return text + (_details(report.observation) if verbose else [])


def _details(observation: Observation) -> list[str]:
    workers = [
        (
            worker.name,
            worker.pool or "?",
            _known(worker.concurrency),
            _known(None if worker.running is None else len(worker.running)),
            _known(worker.reserved),
            ",".join(worker.queues or ()) or "-",
        )
        for worker in observation.workers
    ]
    running = [
        (task.task_name, task.task_id, task.worker, _age(task.time_start, observation.taken_at))
        for task in observation.running
    ]
    scheduled = [(task.task_name, task.task_id, task.worker, task.eta or "?") for task in observation.scheduled]
    return [
        *_table(("WORKER", "POOL", "SIZE", "ACTIVE", "RESERVED", "QUEUES"), workers),
        *_table(("RUNNING", "ID", "WORKER", "AGE"), running),
        *_table(("SCHEDULED", "ID", "WORKER", "ETA"), scheduled),
        *(f"Not known: {sentence}" for sentence in observation.not_known),
        f"Checked in {observation.duration_seconds * 1000:.0f} ms",
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    table = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return ["", *body, *(["(none)"] if len(table) == 1 else [])]


def _age(start: float | None, now: float) -> str:
    return "?" if start is None else str(timedelta(seconds=max(0, round(now - start))))


def _known(value: float | None) -> str:
    return "?" if value is None else str(value)
