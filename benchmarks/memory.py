"""Measure memory by the number of jobs: ``python -m benchmarks.memory [--quick]`` (Linux).

Two workers with the pool ``solo`` run the same number of jobs of 50 customers;
one of them counts. Meanwhile a web process serves health and metrics. The figure
is the resident memory of each main process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.support.processes import Process, Web, Worker
from tests.support.servers import RedisServer

from .jobs import Feeder
from .measure import Table, at_most, main
from .peers import fetch

KINDS = ("plain", "monitored")
STEP = 5000


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def serving(web: Process) -> int:
    """Return the process id of gunicorn's only worker."""
    return int(Path(f"/proc/{web.pid}/task/{web.pid}/children").read_text().split()[0])


def run(feeder: Feeder, web: Web, number: int) -> None:
    """Run ``number`` jobs on each worker, then request health and metrics."""
    for kind in KINDS:
        feeder.stage(kind, number, kind + ".staged")
        feeder.start(kind, kind + ".staged")
    for _ in KINDS:
        feeder.wait()
    for path in ("/metrics", "/api/celery/health/"):
        fetch(web.url + path)


def measure(quick: bool) -> Sequence[Table]:
    """Measure the memory after each number of jobs."""
    sizes = (200, 400) if quick else (10_000, 100_000, 500_000)
    rows: list[tuple[Any, ...]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = RedisServer(folder)
        stack.callback(redis.stop)
        workers = []
        for kind in KINDS:
            worker = Worker(
                redis.url, folder, "--loglevel=warning", "-Q", kind, name=kind, app="benchmarks.jobs:app",
                pool="solo", ready=False, environ={"BENCHMARK_ACKS": "off"},
            )  # fmt: skip
            stack.callback(worker.end)
            workers.append(worker)
        web = Web(redis.url, folder)
        stack.callback(web.end)
        feeder, done = Feeder(redis.url), 0
        for size in sizes:
            while done < size:
                run(feeder, web, number := min(STEP, size - done))
                done += number
            rows.append((size, *(resident_mb(pid) for pid in (*(worker.pid for worker in workers), serving(web)))))
    growth = [after / before for before, after in zip(rows[-2][1:], rows[-1][1:], strict=True)]
    span = f"from {sizes[-2]:,} to {sizes[-1]:,}"
    goals = [
        at_most(f"Memory of the {process}, {span} jobs", 1.01, times)
        for process, times in zip(("monitored worker", "web process"), growth[1:], strict=True)
    ]
    rows.append((f"{span}, times", *growth))
    columns = ("jobs", "plain worker, MB", "monitored worker, MB", "web process, MB")
    notes = ("Workers run with ack_emulation off: three times as many jobs in the same time.",)
    return [Table("Resident memory against jobs of 50 customers", columns, rows, notes, goals=goals)]


if __name__ == "__main__":
    main(measure, __doc__)
