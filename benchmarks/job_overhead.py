"""Measure the CPU that counting adds to a job: ``python -m benchmarks.job_overhead [--quick]`` (Linux).

CPU time of main process and pool process, per job that does nothing. Subjects
run on the same worker process in short rounds and random order, so that neither
differences between processes nor a busy minute favour one of them.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.support.processes import Process, Worker, wait_until
from tests.support.servers import RedisServer

from .jobs import Feeder
from .measure import Figure, Table, at_most, figure, main
from .peers import EXPORTER, missing


class Kind(NamedTuple):
    """A task of ``benchmarks.jobs``, with or without task events."""

    task: str
    events: bool = False


PLAIN, MONITORED, EVENTS = "plain", "monitored: counted in the main process", "-E (task events), no listener"
IN_THE_CHILD, IN_FILES = "prometheus_client in the pool process", "the same in multiprocess mode"
CONSUMED = "-E, celery-exporter listens (its CPU too)"

COLUMNS = ("a job that does nothing", "us of CPU: median (quartiles)", "minus plain of the same worker", "times plain")
NOTES = (
    "Differences are taken per round. Their quartiles are the noise of a round; our median may be off by 10 us.",
    "These workers run with ack_emulation off: kombu's records of unacknowledged messages double times and noise.",
    "Scrapes are not included. The flush of each second is.",
    "Our part: timed alone, the code takes about 5 us, most of it at the start (customer, queue wait).",
    "In a busy worker, whose CPU caches hold other code, the same calls take twice as long.",
    "The header with the publishing time, which both processes read, adds 1 or 2 us.",
)


class Bench:
    """A worker with one pool process on a separate Redis.

    Arguments:
        stack: stops both.
        environ: additional environment variables.
        exporter: run celery-exporter as well, and include its CPU time.
    """

    def __init__(self, stack: ExitStack, environ: Mapping[str, str] | None = None, exporter: bool = False) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = RedisServer(folder)
        stack.callback(redis.stop)
        self._feeder = Feeder(redis.url)
        self._control = self._feeder.client.control
        worker = Worker(
            redis.url, folder, "--loglevel=warning", app="benchmarks.jobs:app", concurrency=1, ready=False,
            environ={"BENCHMARK_ACKS": "off", **(environ or {})},
        )  # fmt: skip
        stack.callback(worker.end)
        self._feeder.run("celery")
        self._exporter = EXPORTER.start(redis.url, folder) if exporter else None
        if self._exporter:
            stack.callback(self._exporter.end)

    def rounds(self, kinds: Mapping[str, Kind], rounds: int, number: int) -> dict[str, list[float]]:
        """Return the microseconds per job, for each kind and round."""
        found: dict[str, list[float]] = {name: [] for name in kinds}
        for name in kinds:
            self._cost(*kinds[name], 2 * number)  # warm up
        for _ in range(rounds):
            for name in random.sample(list(kinds), len(kinds)):
                found[name].append(self._cost(*kinds[name], number))
        return found

    def _cost(self, task: str, events: bool, number: int) -> float:
        """Return microseconds of CPU per job."""
        (self._control.enable_events if events else self._control.disable_events)()
        self._feeder.stage(task, number)
        before = self._seconds("nothing")
        return (self._seconds("staging") - before) / number * 1e6

    def _seconds(self, staged: str) -> float:
        """Run the staged jobs, and return the CPU seconds so far."""
        pool_process = self._feeder.run("celery", staged)
        (reply,) = self._control.broadcast("cpu_seconds", reply=True, limit=1, timeout=10)
        return pool_process + float(*reply.values()) + (settled(self._exporter) if self._exporter else 0)


def settled(process: Process) -> float:
    """Wait until a process is idle, and return its CPU seconds."""
    seen = [-1.0]

    def idle() -> bool:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        seen.append((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
        return len(seen) > 10 and seen[-1] == seen[-10]  # a fifth of a second

    wait_until(idle, "the exporter has read all events", 60)
    return seen[-1]


def costs(rounds: int, number: int) -> dict[str, tuple[Figure, Figure, float]]:
    """Return row -> cost of a job, difference to a plain job of the same worker, ratio to it."""
    found: dict[str, tuple[Figure, Figure, float]] = {}

    def add(bench: Bench, kinds: Mapping[str, Kind], rounds: int) -> None:
        series = bench.rounds({PLAIN: Kind("plain"), **kinds}, rounds, number)
        plain = figure(series[PLAIN]).median
        for name, values in series.items():
            beyond = [value - base for value, base in zip(values, series[PLAIN], strict=True)]
            found.setdefault(name, (figure(values), figure(beyond), figure(values).median / plain))

    with ExitStack() as stack:
        bench = Bench(stack)
        add(bench, {MONITORED: Kind("monitored")}, rounds)  # the smallest difference, in the most rounds
        add(bench, {IN_THE_CHILD: Kind("child"), EVENTS: Kind("plain", True)}, rounds // 8)
    with ExitStack() as stack:
        files = stack.enter_context(tempfile.TemporaryDirectory())
        add(Bench(stack, {"PROMETHEUS_MULTIPROC_DIR": files}), {IN_FILES: Kind("child")}, rounds // 12)
    if EXPORTER.version:
        with ExitStack() as stack:
            add(Bench(stack, exporter=True), {CONSUMED: Kind("plain", True)}, rounds // 25)
    return found


def measure(quick: bool) -> Sequence[Table]:
    """Measure the costs."""
    found = costs(*(25, 10) if quick else (800, 60))
    rows = [(name, cost, "" if name == PLAIN else beyond, times) for name, (cost, beyond, times) in found.items()]
    ours, events = found[MONITORED][1].median, found[EVENTS][1].median
    goals = (
        at_most("Counting a job, as a part of what -E adds to it", 0.02, ours / events),
        at_most("Counting a job, us of CPU", 20.0, ours),
    )
    return [Table("Cost of counting a job", COLUMNS, rows, (*NOTES, *missing([EXPORTER])), goals=goals)]


if __name__ == "__main__":
    main(measure, __doc__)
