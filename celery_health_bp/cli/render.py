"""Renders a report as text for people, or as one line for Nagios. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import accumulate

from click import unstyle

from ..report import DEGRADED, HEALTHY, UNHEALTHY, HealthReport, Observation, Worker
from ..settings import Settings

#: Maximum length of a name: fits 80 columns beside an id (36) or a time (25).
MAX_NAME = 40
#: States of the monitoring-plugins guidelines.
NAGIOS = {HEALTHY: "OK", DEGRADED: "WARNING", UNHEALTHY: "CRITICAL"}

#: Replaces characters that a label of performance data must not contain.
NO_LABEL = str.maketrans(dict.fromkeys("'=|", "_"))


def headline(report: HealthReport, settings: Settings) -> str:
    """Return the status and its reason, on one line."""
    count = len(report.active_workers)
    workers = "1 worker answers" if count == 1 else f"{count} workers answer"
    if report.error:
        why = report.error
    elif report.recommendations:
        why = f"{workers}; {report.recommendations[0]}"
    else:
        why = f"{workers}, no queue is longer than {settings.queue_length_threshold}"
    return f"{report.status.upper()}: {why}"


def nagios_line(report: HealthReport, settings: Settings) -> str:
    """Return one line with performance data, as monitoring plugins print it."""
    state, _, why = headline(report, settings).partition(": ")
    lengths = [
        f"'queue_{name.translate(NO_LABEL)}'={length};{settings.queue_length_threshold}"
        for name, length in report.queues.items()
        if length >= 0
    ]
    data = [f"workers={len(report.active_workers)};;{settings.min_workers}:", *lengths]
    return f"CELERY {NAGIOS[state.lower()]} - {why.replace('|', '/')} | {' '.join(data)}"


def nagios_unknown(message: str) -> str:
    """Return the line for a check without a result."""
    return f"CELERY UNKNOWN - {' '.join(message.split()).replace('|', '/')}"


def fitted(text: str, columns: int, rows: int) -> str:
    """Cut a text to the height of a terminal; the last line then names the number of lines left out.

    Arguments:
        text: lines, possibly with colours.
        columns: width of the terminal; longer lines take several rows.
        rows: number of rows to fill.
    """
    every = text.splitlines()
    heights = [max(1, -(-len(unstyle(line)) // max(1, columns))) for line in every]
    if sum(heights) <= rows:
        return text
    kept = sum(height < rows for height in accumulate(heights))
    return "\n".join([*every[:kept], f"... {len(every) - kept} more lines"])


def lines(report: HealthReport, settings: Settings, *, verbose: bool) -> list[str]:
    """Return the lines below the headline."""
    text = [f"Recommendation: {advice}" for advice in report.recommendations]
    if verbose:
        return text + _details(report, settings)
    if report.queues:
        text.append(f"Queues: {', '.join(f'{name} {_length(n)}' for name, n in report.queues.items())}")
    if report.active_workers:
        text.append(f"Workers: {', '.join(report.active_workers)}")
    return text


def _details(report: HealthReport, settings: Settings) -> list[str]:
    observation = report.observation
    limit = str(settings.queue_length_threshold)
    queues = [
        (name, _length(queue.length), limit, _known(queue.consumers))
        for name, queue in sorted(observation.queues.items())
    ]
    return [
        *_table(
            ("WORKER", "POOL", "SIZE", "ACTIVE", "RESERVED", "COUNTED", "QUEUES"), map(_worker_row, observation.workers)
        ),
        *_table(("QUEUE", "LENGTH", "THRESHOLD", "CONSUMERS"), queues),
        *_tasks(
            "RUNNING",
            "AGE",
            [(t.task_name, t.task_id, t.worker, _age(t.time_start, observation)) for t in observation.running],
            known=not observation.unread,
        ),
        *_tasks(
            "SCHEDULED",
            "ETA",
            [(t.task_name, t.task_id, t.worker, _eta(t.eta)) for t in observation.scheduled],
            known=not observation.unread,
        ),
        "",
        *(f"Note: {sentence}" for sentence in observation.not_known),
        f"Checked in {observation.duration_seconds * 1000:.0f} ms",
    ]


def _worker_row(worker: Worker) -> Sequence[str]:
    active = None if worker.running is None else len(worker.running)
    queues = ",".join(worker.queues or ()) or "-"
    numbers = map(_known, (worker.concurrency, active, worker.reserved))
    return (worker.name, worker.pool or "?", *numbers, _counted(worker), queues)


def _counted(worker: Worker) -> str:
    """Return counted/registered tasks."""
    counted = _known(worker.tasks_counted)
    return counted if worker.tasks is None else f"{counted}/{worker.tasks.registered}"


def _tasks(title: str, when: str, tasks: list[tuple[str, str, str, str]], *, known: bool) -> list[str]:
    """Return two lines per task: name, id and worker do not fit into 80 columns."""
    if not tasks:
        return ["", f"{title}: {'none' if known else 'not known'}"]
    width = max(len(time) for *_, time in tasks)
    rows = [f"{title} ({len(tasks)}), with {when}"]
    for name, task_id, worker, time in tasks:
        rows += [f"  {time.rjust(width)}  {name}", f"  {' ' * width}  {task_id} on {worker}"]
    return ["", *rows]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    table = [head, *([*(_shortened(cell) for cell in row)] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return ["", *body] if len(table) > 1 else []


def _shortened(text: str) -> str:
    """Return the end of a long name, which is more specific than its beginning."""
    return text if len(text) <= MAX_NAME else f"...{text[3 - MAX_NAME :]}"


def _age(start: float | None, observation: Observation) -> str:
    return "?" if start is None else str(timedelta(seconds=max(0, round(observation.taken_at - start))))


def _eta(eta: str | None) -> str:
    """Return the ETA without fractions of a second and time zone."""
    return (eta or "?").partition(".")[0].partition("+")[0]


def _length(length: int) -> str:
    return "not known" if length < 0 else str(length)


def _known(value: float | None) -> str:
    return "?" if value is None else str(value)
