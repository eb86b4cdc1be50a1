"""Tasks of the benchmarks, and ``Feeder``, which hands a worker thousands of jobs at once."""

from __future__ import annotations

import json
import os
import time
from typing import Any
from uuid import uuid4

from celery import Celery, Task
from celery.worker.control import inspect_command
from prometheus_client import Counter, Histogram
from redis import Redis

from celery_health_bp import MonitoredTask
from celery_health_bp.wire import PUBLISHED_HEADER
from tests.support.processes import wait_until

DONE = "benchmark:done"
CUSTOMERS = 50

app = Celery("upstream", broker=os.environ.get("CELERY_BROKER_URL", "memory://"))
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    # Without kombu's records of unacknowledged messages a worker is three times as fast.
    broker_transport_options={"ack_emulation": os.environ.get("BENCHMARK_ACKS") != "off"},
)


class CountedInTheChild(Task):  # type: ignore[misc]
    """Counters written by hand: prometheus_client in the process that runs the job."""

    started = Counter("started", "Attempts.", ["task_name", "customer_id"])
    completed = Counter("completed", "Attempts.", ["task_name", "customer_id"])
    duration = Histogram("duration", "Seconds.", ["task_name"])

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Count the start."""
        self.started.labels(self.name, kwargs["customer_id"]).inc()

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Count the end and a duration."""
        self.completed.labels(self.name, kwargs["customer_id"]).inc()
        self.duration.labels(self.name).observe(0.001)


def _nothing(customer_id: str) -> None:
    """Do nothing."""


for _base, _name in ((Task, "plain"), (MonitoredTask, "monitored"), (CountedInTheChild, "child")):
    app.task(name=_name, base=_base)(_nothing)


@app.task(name="last")
def last() -> None:
    """Record that all earlier jobs are done, and the CPU time of the pool process."""
    with Redis.from_url(str(app.conf.broker_url)) as redis:
        redis.rpush(DONE, time.process_time())


@inspect_command(name="cpu_seconds")  # type: ignore[untyped-decorator]
def cpu_seconds(state: Any, **_: Any) -> float:
    """Return user and system time of the main process."""
    return time.process_time()


class Feeder:
    """Hand jobs to a worker: collect them in a staging list, then rename the list to its queue.

    The worker finds all jobs at once, and no publisher uses CPU while it works.
    """

    def __init__(self, broker_url: str) -> None:
        self.client = Celery("upstream", broker=broker_url)
        self.redis = Redis.from_url(broker_url)

    def stage(self, task: str, number: int, staging: str = "staging") -> None:
        """Put ``number`` jobs of 50 customers into the staging list, as copies of 50 messages that Celery published."""
        templates = [self._published(task, f"customer-{customer}") for customer in range(CUSTOMERS)]
        for first in range(0, number, 1000):
            batch = range(first, min(first + 1000, number))
            self.redis.lpush(staging, *(self._copy(*templates[index % CUSTOMERS]) for index in batch))

    def _published(self, task: str, customer_id: str) -> tuple[bytes, bytes, bytes]:
        task_id = str(uuid4())
        headers = {PUBLISHED_HEADER: time.time_ns() // 1000} if task == "monitored" else None  # as its apply_async does
        self.client.send_task(
            task, kwargs={"customer_id": customer_id}, task_id=task_id, queue="template", headers=headers
        )
        raw: bytes = self.redis.lpop("template")  # type: ignore[assignment]
        return raw, task_id.encode(), json.loads(raw)["properties"]["delivery_tag"].encode()

    @staticmethod
    def _copy(raw: bytes, task_id: bytes, delivery_tag: bytes) -> bytes:
        return raw.replace(task_id, str(uuid4()).encode()).replace(delivery_tag, str(uuid4()).encode())

    def start(self, queue: str, staging: str = "staging") -> None:
        """Move the staged jobs to a queue."""
        self.client.send_task("last", queue=staging)
        self.redis.rename(staging, queue)

    def wait(self) -> float:
        """Wait for the jobs of one ``start``, and return the CPU seconds of the pool process so far."""
        done: list[Any] = []
        wait_until(lambda: done.append(self.redis.lpop(DONE)) or done[-1], "the jobs are done", 900)
        return float(done[-1])

    def run(self, queue: str, staging: str = "staging") -> float:
        """Start the staged jobs and wait for them."""
        self.start(queue, staging)
        return self.wait()
