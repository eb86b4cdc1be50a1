"""The seven tasks of the example, which do real work on generated data.

A task is counted if its base class is ``MonitoredTask``, or if its function is decorated with
``@monitor_task``. The arguments determine the data, and therefore every failure.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import hmac
import io
import json
import random
import sqlite3
import statistics
from bisect import bisect_right
from typing import Any

from celery import shared_task

from celery_health_bp import MonitoredTask, monitor_task


class DatabaseError(Exception):
    """The database refused a statement."""


class EndpointUnavailable(Exception):
    """The customer's endpoint does not accept webhooks at the moment."""


class ReportNotReady(Exception):
    """The report to compare with has not been written yet."""


@shared_task(base=MonitoredTask, name="upstream.tasks.run_drift_detection")
def run_drift_detection(customer_id: str, window: int = 0, rows: int = 20_000) -> float:
    """Return the distance between the values of two windows (Kolmogorov-Smirnov), from 0 to 1."""
    before, after = (sorted(_values(customer_id, part, rows)) for part in (window - 1, window))
    return max(abs(bisect_right(before, value) - rank) for rank, value in enumerate(after, 1)) / rows


@shared_task(name="upstream.tasks.send_alert")
@monitor_task
def send_alert(customer_id: str, text: str) -> str:
    """Return the signature of a message. The shortest task."""
    message = json.dumps({"to": customer_id, "text": text})
    return _signature(customer_id, message)


@shared_task(base=MonitoredTask, bind=True, name="upstream.tasks.send_webhook", max_retries=3)
def send_webhook(self: Any, customer_id: str, event: int = 0) -> str:
    """Return the signature of an event; the endpoint may be down for one or two attempts (retried)."""
    key = hashlib.pbkdf2_hmac("sha256", customer_id.encode(), b"webhook", 20_000)
    attempts_down = _draw(customer_id, "endpoint", event).choice((0, 0, 0, 1, 2))
    if self.request.retries < attempts_down:
        raise self.retry(exc=EndpointUnavailable(f"event {event}"), countdown=1)
    return _signature(key.hex(), str(event))


@shared_task(base=MonitoredTask, name="upstream.tasks.generate_report_artifact")
def generate_report_artifact(customer_id: str, rows: int = 20_000) -> int:
    """Render a report as CSV, compress it, and return its size in bytes."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["row", "value", "checksum"])
    for row, value in enumerate(_values(customer_id, 0, rows)):
        writer.writerow([row, f"{value:.6f}", hashlib.sha256(str(value).encode()).hexdigest()])
    return len(gzip.compress(text.getvalue().encode()))


@shared_task(base=MonitoredTask, name="upstream.tasks.send_scheduled_report")
def send_scheduled_report(customer_id: str, rows: int = 5_000) -> str:
    """Return a summary of a day as JSON. ``trickle.py`` sends it with an ETA."""
    values = _values(customer_id, 0, rows)
    summary = {"mean": statistics.fmean(values), "quartiles": statistics.quantiles(values)}
    return json.dumps(summary)


@shared_task(
    base=MonitoredTask,
    bind=True,
    name="upstream.tasks.compute_report_drift",
    autoretry_for=(ReportNotReady,),
    retry_backoff=1,
    max_retries=1,
)
def compute_report_drift(self: Any, customer_id: str, day: int = 0, rows: int = 10_000) -> float:
    """Return the correlation of two reports; the older one may be late (retried) or missing (failed)."""
    attempts_late = _draw(customer_id, "report", day).choice((0, 0, 0, 0, 0, 1, 2))
    if self.request.retries < attempts_late:
        raise ReportNotReady(f"day {day - 1}")
    return statistics.correlation(_values(customer_id, day - 1, rows), _values(customer_id, day, rows))


@shared_task(base=MonitoredTask, name="upstream.tasks.process_ingestion")
def process_ingestion(customer_id: str, batch: int = 0, rows: int = 5_000) -> int:
    """Load a batch into a database, and return the number of positive values; one batch in ten has a duplicate key."""
    keys = list(range(rows))
    if _draw(customer_id, "batch", batch).randrange(10) == 0:
        keys[-1] = 0
    records = zip(keys, _values(customer_id, batch, rows), strict=True)
    database = sqlite3.connect(":memory:")
    try:
        database.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, value REAL)")
        database.executemany("INSERT INTO events VALUES (?, ?)", records)
        return int(database.execute("SELECT count(*) FROM events WHERE value > 0").fetchone()[0])
    except sqlite3.Error as exc:
        raise DatabaseError(str(exc)) from exc
    finally:
        database.close()


def _draw(*key: object) -> random.Random:
    return random.Random(repr(key))


def _values(customer_id: str, part: int, rows: int) -> list[float]:
    draw = _draw(customer_id, part)
    drift = draw.uniform(-0.5, 0.5)
    return [draw.gauss(drift, 1.0) for _ in range(rows)]


def _signature(key: str, message: str) -> str:
    return hmac.new(key.encode(), message.encode(), "sha256").hexdigest()
