"""Publish jobs of ``outcome_jobs`` and read the counts of their attempts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from celery import Celery
from flask import Flask

from tests.support.exposition import JOB, Exposition
from tests.support.servers import RedisServer

APP = "tests.support.apps.outcome_jobs:app"

#: Environment of the worker under test: it flushes often.
ENVIRON = {"CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.2"}


def with_starts(ends: Mapping[str, int]) -> Counter[str]:
    """Return the ends and their starts, by the accounting invariant; discarded messages never start."""
    started = sum(number for end, number in ends.items() if not end.startswith("discarded"))
    return Counter({**ends, **({"started": started} if started else {})})


def send(client: Celery, customer: str, task: str = "work", *, seconds: float = 0, **options: Any) -> None:
    """Publish a job with this customer."""
    kwargs = {"customer_id": customer, **({"seconds": seconds} if seconds else {})}
    client.send_task(f"tests.support.apps.outcome_jobs.{task}", kwargs=kwargs, **options)


def reader(make_app: Callable[..., Flask], redis: RedisServer) -> Callable[[], Exposition]:
    """Return a function that scrapes an application in this process for the job totals on a Redis.

    Its broker URL is a closed port, so that a scrape asks no workers: it would wait until its
    deadline for a solo worker that runs a job, and for a worker that has ended.
    """
    client = make_app(Celery("upstream", broker="redis://127.0.0.1:1/0"), metrics_store=redis.url).test_client()
    return lambda: Exposition(client.get("/metrics").text)


def counted(exposition: Exposition) -> dict[str, Counter[str]]:
    """Return customer -> (counter and label -> number), summed over all tasks."""
    found: dict[str, Counter[str]] = {}
    for kind in ("started", "completed", "failed", "retried", "aborted", "discarded"):
        for labels, number in exposition.series(f"{JOB}_{kind}_total"):
            end = " ".join(filter(None, (kind, labels.get("error_type"), labels.get("reason"))))
            found.setdefault(labels["customer_id"], Counter())[end] += int(number)
    return found
