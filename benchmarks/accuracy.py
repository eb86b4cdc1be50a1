"""Counted / true after thousands of mixed jobs, with kills and a restart: ``python -m benchmarks.accuracy [--quick]``.

All tools count the same jobs of the same worker, which sends task events. The
jobs record in Redis how they started and ended.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from celery import Celery
from redis import Redis

from tests.support.killing import RUNNING
from tests.support.processes import Worker, wait_until

from .accuracy_jobs import TRUTH
from .contenders import COLUMNS, OURS, Contender, contenders
from .measure import Table, at_most, main
from .peers import EXPORTER, FLOWER, missing
from .stage import redis_server

#: Task -> its share of 2,000 jobs. A time limit occupies a process for two seconds.
MIX = {
    "work": 920,
    "fail": 250,
    "retry": 200,
    "soft_limit": 30,
    "hard_limit": 30,
    "sys_exit": 40,
    "ignore": 50,
    "expired": 80,
    "killable": 400,
}
KILLS = 20
SEED = 7

NOTES = (
    "True: what the jobs recorded in Redis, plus the processes that the benchmark killed.",
    "Counted: the increase that Prometheus sees in the best case, with scrapes just before and after the restart.",
    "Mix: success, failure, one retry, soft and hard limits, sys.exit, Ignore, expired jobs, killed processes.",
    "Tools that use events lose those sent while they restart: the more jobs per second, the more events.",
    "prometheus_client multiprocess: Celery's signals, counted in the process that sends them, pool or main.",
    "WorkerLostError: the error type if the process was killed or the job called sys.exit.",
    "Flower's counters have no error type. celery-exporter reports ExceptionWithTraceback, as for a hard limit.",
    "Ratios above 1: for a hard limit Celery 5.7 sends the event and the signal of the failure twice.",
)


class Storm:
    """Jobs, kills and a restart, on one worker.

    Arguments:
        share: fraction of the 2,000 jobs and 20 kills, from 0 to 1.
    """

    def __init__(self, url: str, share: float) -> None:
        self._client = Celery("upstream", broker=url)
        self._redis: Redis = Redis.from_url(url)
        self._kills = round(KILLS * share)
        self._jobs = [task for task, count in MIX.items() for _ in range(round(count * share))]
        random.Random(SEED).shuffle(self._jobs)  # noqa: S311  # the same order in each run
        #: A retry is an additional attempt; an expired job is none.
        self._attempts = len(self._jobs) + self._jobs.count("retry") - self._jobs.count("expired")

    def truth(self) -> dict[str, int]:
        """Return how many attempts started and ended, by kind."""
        recorded: dict[bytes, bytes] = self._redis.hgetall(TRUTH)  # type: ignore[assignment]
        return {"started": 0, **{name.decode(): int(count) for name, count in recorded.items()}}

    def run(self, counting: Collection[Contender]) -> None:
        """Run all jobs, and restart the tools halfway."""
        for task in self._jobs:
            self._send(task)
        with ThreadPoolExecutor(1) as meanwhile:
            for number in range(self._kills):
                begun = self._attempts * (number + 1) // (self._kills + 2)
                wait_until(lambda n=begun: self.truth()["started"] >= n, f"{begun} attempts have begun", 120)
                if number == self._kills // 2:
                    restarts = [meanwhile.submit(contender.restart) for contender in counting]
                self._kill()
            wait_until(self._over, "all attempts are over", 240)
        for restart in restarts:
            restart.result()

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
        self._client.close()

    def _send(self, task: str) -> None:
        name, options = (task, {}) if task != "expired" else ("work", {"expires": 0.001})
        self._client.send_task(f"benchmarks.accuracy_jobs.{name}", kwargs={"customer_id": "acme"}, **options)

    def _kill(self) -> None:
        """Kill a pool process in the middle of its job."""
        found: list[Any] = []
        wait_until(lambda: found.append(self._redis.spop(RUNNING)) or found[-1], "a job runs that may be killed", 60)
        os.kill(int(found[-1]), signal.SIGKILL)
        for name in ("failed", "WorkerLostError"):
            self._redis.hincrby(TRUTH, name)

    def _over(self) -> bool:
        truth = self.truth()
        ended = sum(truth.get(kind, 0) for kind in ("completed", "failed", "retried", "aborted"))
        return ended == truth["started"] == self._attempts


def settle(counting: Collection[Contender], seconds: float) -> None:
    """Scrape all tools until no count has changed for ``seconds``."""
    seen: list[Any] = [None, time.monotonic()]

    def quiet() -> bool:
        for contender in counting:
            contender.scrape()
        counted = [dict(contender.counted) for contender in counting]
        if counted != seen[0]:
            seen[:] = counted, time.monotonic()
        return time.monotonic() - seen[1] > seconds

    wait_until(quiet, "all counts stay as they are", 120)


def measure(quick: bool) -> list[Table]:
    """Run one storm, and compare the counts."""
    with ExitStack() as stack:
        folder, child_folder = (Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2))
        url = stack.enter_context(redis_server()).url
        environ = {"PROMETHEUS_MULTIPROC_DIR": str(child_folder)}
        app = "benchmarks.accuracy_jobs:app"
        stack.callback(Worker(url, folder, "-E", app=app, concurrency=4, environ=environ, ready=False).end)
        found = contenders(url, folder, child_folder, stack)
        storm = Storm(url, 0.05 if quick else 1)
        stack.callback(storm.close)
        storm.run(found.values())
        settle(found.values(), 0 if quick else 8)
        return [table(found, storm.truth())]


def table(found: Mapping[str, Contender], truth: Mapping[str, int]) -> Table:
    """Return the table of counted / true, one row per tool."""
    rows: list[tuple[Any, ...]] = [("true", *(truth.get(column, 0) for column in COLUMNS))]
    rows += [(name, *(_cell(contender, column, truth) for column in COLUMNS)) for name, contender in found.items()]
    away = ", ".join(f"{name} {tool.away_seconds:.1f} s" for name, tool in found.items() if tool.away_seconds)
    notes = [*NOTES, f"Time to restart: {away}.", *missing((EXPORTER, FLOWER))]
    wrong = max(abs(found[OURS].counted[column] - truth.get(column, 0)) for column in COLUMNS)
    goal = at_most("accuracy: attempts counted wrongly, in the worst column", 0, wrong)
    return Table("Counted / true after mixed jobs", ("", *COLUMNS), rows, notes, goals=[goal])


def _cell(contender: Contender, column: str, truth: Mapping[str, int]) -> str:
    if column not in contender.counted:
        return "not shown"
    counted = contender.counted[column]
    return f"{counted / truth.get(column, 0):.4f} ({counted:,.0f})"


if __name__ == "__main__":
    main(measure, __doc__)
