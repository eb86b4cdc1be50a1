"""What counting costs a worker: ``python -m benchmarks.job_overhead [--quick]`` (Linux).

CPU of main process and pool process together per job that does nothing, four
kinds of worker interleaved round by round on one Redis, and the memory of a
monitored worker's main process. Ratios hold elsewhere; microseconds do not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from celery import Celery, Task, signals
from prometheus_client import Counter, Histogram
from redis import Redis

from celery_health_bp import MonitoredTask
from tests.processes import Worker, wait_until
from tests.servers import RedisServer

KINDS = ("plain", "monitored", "events", "in the child")
KIND = os.environ.get("BENCHMARK_KIND", "plain")

app = Celery(
    "benchmark",
    broker=os.environ.get("CELERY_BROKER_URL", "memory://"),
    task_cls=MonitoredTask if KIND == "monitored" else Task,
)
app.conf.update(broker_connection_retry_on_startup=True, task_ignore_result=True)

if KIND == "in the child":
    STARTED = Counter("started", "Attempts.", ["task_name", "customer_id"])
    COMPLETED = Counter("completed", "Attempts.", ["task_name", "customer_id"])
    DURATION = Histogram("duration", "Seconds.", ["task_name"])

    @signals.task_prerun.connect
    def _started(task: Task, kwargs: dict[str, str], **_: object) -> None:
        STARTED.labels(task.name, kwargs["customer_id"]).inc()

    @signals.task_postrun.connect
    def _completed(task: Task, kwargs: dict[str, str], **_: object) -> None:
        COMPLETED.labels(task.name, kwargs["customer_id"]).inc()
        DURATION.labels(task.name).observe(0.001)


@app.task(name="job")
def job(customer_id: str) -> None:
    """Do nothing."""


@app.task(name="last")
def last(customer_id: str) -> None:
    """Tell that all jobs before it are done: one pool process takes them in order."""
    with Redis.from_url(str(app.conf.broker_url)) as redis:
        redis.rpush("done", customer_id)


def cpu_seconds(worker: Worker) -> float:
    """User and system time of the main process and its pool process."""
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    ticks = 0
    for pid in (str(worker.pid), *children):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_mb(worker: Worker) -> float:
    """Resident memory of the main process."""
    status = Path(f"/proc/{worker.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


class Bench:
    """Workers of all kinds on one Redis, each with its own queue."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        redis = RedisServer(folder)
        stack.callback(redis.stop)
        self._client = Celery("benchmark", broker=redis.url)
        self._redis = stack.enter_context(Redis.from_url(redis.url))
        self.workers: dict[str, Worker] = {}
        for kind in KINDS:
            options = ["-Q", kind, "--loglevel=warning", *(["-E"] if kind == "events" else [])]
            worker = Worker(
                redis.url, folder, *options, name=kind.replace(" ", "-"), app="benchmarks.job_overhead:app",
                concurrency=1, environ={"BENCHMARK_KIND": kind}, ready=False,
            )  # fmt: skip
            stack.callback(worker.end)
            self.workers[kind] = worker
            self.run(kind, 200)

    def run(self, kind: str, number: int) -> None:
        """Run so many jobs of 50 customers on the worker of a kind, and wait for them."""
        for index in range(number):
            self._client.send_task("job", kwargs={"customer_id": f"c{index % 50}"}, queue=kind)
        self._client.send_task("last", kwargs={"customer_id": kind}, queue=kind)
        wait_until(lambda: self._redis.lpop("done"), f"{number} jobs of {kind} are done", 600)

    def cost(self, kind: str, number: int) -> float:
        """Microseconds of CPU per job."""
        before = cpu_seconds(self.workers[kind])
        self.run(kind, number)
        return (cpu_seconds(self.workers[kind]) - before) / number * 1e6


def main() -> None:
    """Print the table of costs, and the pair of memory sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few jobs: shows that it runs, not what it costs")
    quick = parser.parse_args().quick
    rounds, number, sizes = (1, 300, (500, 1000)) if quick else (9, 2000, (20_000, 200_000))
    with ExitStack() as stack:
        bench = Bench(stack, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        found: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(rounds):
            for kind in KINDS:
                found[kind].append(bench.cost(kind, number))
        plain = statistics.median(found["plain"])
        print(f"{'worker':14}{'us a job':>10}{'spread':>16}{'minus plain':>13}{'ratio':>8}")
        for kind, costs in found.items():
            middle, spread = statistics.median(costs), f"{min(costs):.0f}..{max(costs):.0f}"
            print(f"{kind:14}{middle:10.0f}{spread:>16}{middle - plain:13.0f}{middle / plain:8.2f}")
        done = rounds * number
        for size in sizes:
            while done < size:
                bench.run("monitored", step := min(5000, size - done))
                done += step
            print(f"main process after {size} jobs of 50 customers: {rss_mb(bench.workers['monitored']):.1f} MB")


if __name__ == "__main__":
    main()
