"""The accounting invariant: every way in which an attempt can end, in every pool, read from another process."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from tests.support.apps.outcome_jobs import RELEASED
from tests.support.exposition import Exposition
from tests.support.lossy_proxy import LossyProxy
from tests.support.outcomes import APP, ENVIRON, counted, reader, send, with_starts
from tests.support.processes import Web, Worker, wait_until
from tests.support.servers import RedisServer
from tests.support.versions import DIFFERENCES

pytestmark = pytest.mark.measured
POOLS = ("prefork", "threads", "solo", "gevent")

ONE_PROCESS = dict.fromkeys(POOLS[1:], "it would end the only process of the worker")
NO_TERMINATE = {
    "threads": "Celery cannot end a thread: terminate_job is not implemented",
    "solo": "the worker reads no commands while it runs a job",
}
if not DIFFERENCES["gevent_terminate"].holds:
    NO_TERMINATE["gevent"] = "Celery cannot end a greenlet: terminate_job is not implemented"
NO_SOFT_LIMIT = dict.fromkeys(POOLS[1:], "Celery implements the soft limit for prefork only")
NO_HARD_LIMIT = dict.fromkeys(("threads", "solo"), "Celery has no time limits in this pool")
AFTER_RETURN = {"completed": 1} if DIFFERENCES["handlers_after_the_end"].holds else {"failed DatabaseError": 1}
DEADLY = {"prefork": "ends the worker: tested separately below"}
DEADLY_IN_SOLO = {"solo": "ends the worker: tested separately below"}


@dataclass(frozen=True)
class Row:
    """One job, and how its attempts must be counted.

    Attributes:
        name: name of the task, and the customer of the job.
        ends: counter and label -> number of attempts. ``started`` follows from the accounting invariant.
        send: publishes the job, given the client and the customer. ``None``: publish the task ``name``.
        absent: pool -> why the row does not apply to it.
        inner: like ``ends``, for the attempts that the job publishes or runs eagerly.
    """

    name: str
    ends: Mapping[str, int]
    send: Callable[[Celery, str], Any] | None = None
    absent: Mapping[str, str] = field(default_factory=dict)
    inner: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def publish(self, client: Celery) -> None:
        """Publish the job."""
        if self.send is not None:
            self.send(client, self.name)
        else:
            send(client, self.name, self.name)

    def expected(self) -> dict[str, Counter[str]]:
        """Return customer -> expected counts."""
        found = {self.name: self.ends, f"{self.name} inner": self.inner}
        return {customer: with_starts(ends) for customer, ends in found.items() if ends}


def send_revoked(client: Celery, customer: str) -> None:
    """Publish a job that has been revoked before."""
    task_id = f"id of {customer}"
    assert client.control.revoke(task_id, reply=True, timeout=10, limit=1)
    send(client, customer, task_id=task_id)


def send_expired(client: Celery, customer: str) -> None:
    """Publish a job that expired a minute ago."""
    expires = datetime.now(timezone.utc) - timedelta(minutes=1)
    send(client, customer, expires=expires)


def send_terminated(client: Celery, customer: str) -> None:
    """Publish a long job. The test terminates it while it runs."""
    send(client, customer, seconds=60, task_id=f"id of {customer}")


def send_bad_arguments(client: Celery, customer: str) -> None:
    """Publish a job with arguments that the task does not take."""
    client.send_task("tests.support.apps.outcome_jobs.work", kwargs={"customer_id": customer, "size": 3})


ROWS = (
    Row("revoked", {"discarded revoked": 1}, send_revoked),
    Row("work", {"completed": 1}),
    Row("fail", {"failed DatabaseError": 1}),
    Row("unpicklable", {"failed Unpicklable": 1}),
    Row("soft_limit", {"failed SoftTimeLimitExceeded": 1}, absent=NO_SOFT_LIMIT),
    Row("soft_limit_caught", {"completed": 1}, absent=NO_SOFT_LIMIT),
    Row("hard_limit", {"failed TimeLimitExceeded": 1}, absent=NO_HARD_LIMIT),
    Row("kill", {"failed WorkerLostError": 1}, absent=ONE_PROCESS),
    Row("os_exit", {"failed WorkerLostError": 1}, absent=ONE_PROCESS),
    Row("sys_exit", {"failed WorkerLostError": 1}, absent=DEADLY_IN_SOLO),
    Row("interrupt", {"failed WorkerLostError": 1}, absent=DEADLY_IN_SOLO),
    Row("odd", {"failed WorkerLostError": 1}, absent=DEADLY_IN_SOLO),
    Row("memory_error", {"failed WorkerLostError": 1}, absent=DEADLY | DEADLY_IN_SOLO),
    Row("kill_once", {"failed WorkerLostError": 1, "completed": 1}, absent=ONE_PROCESS),
    Row("store_down", {"failed ConnectionError": 1}, absent=DEADLY_IN_SOLO),
    Row("retry", {"retried DatabaseError": 2, "failed DatabaseError": 1}),
    Row("autoretry", {"retried DatabaseError": 1, "failed DatabaseError": 1}),
    Row("retry_quietly", {"completed": 2}),
    Row("ignore", {"aborted ignored": 1}),
    Row("reject", {"aborted rejected": 1}),
    Row("requeue", {"aborted requeued": 1, "completed": 1}),
    Row("replace", {"aborted ignored": 1, "completed": 1}),
    Row("terminated", {"aborted terminated": 1}, send_terminated, absent=NO_TERMINATE),
    Row("expired", {"discarded expired": 1}, send_expired),
    Row("late", {"completed": 1}, partial(send, countdown=1)),
    Row("canvas", {"completed": 1}, inner={"completed": 7}),
    Row("shadow", {"completed": 1}, partial(send, shadow="someone.else")),
    Row("bad_arguments", {"failed TypeError": 1}, send_bad_arguments),
    Row("before_start_raises", {"failed DatabaseError": 1}),
    Row("on_success_raises", AFTER_RETURN),
    Row("after_return_raises", AFTER_RETURN),
    Row("on_failure_raises", {"failed DatabaseError": 1}, absent=DEADLY_IN_SOLO),
    Row("unserialisable", {"failed EncodeError": 1}),
    Row("eager_inside", {"completed": 1}, inner={"completed": 1, "failed DatabaseError": 1}),
    Row("direct_call", {"completed": 1}),
    Row("unknown", {}, partial(send, task="unheard_of")),
)


def settled(web: Web, client: Celery, expected: Mapping[str, Counter[str]], seconds: float = 60) -> Exposition:
    """Return the exposition after all expected counts, and those of one further job, have arrived."""
    with suppress(AssertionError):  # the test reports the difference
        wait_until(lambda: expected.items() <= counted(Exposition.read(web.url)).items(), "all is counted", seconds)
    send(client, "the last")
    with suppress(AssertionError):
        wait_until(lambda: counted(Exposition.read(web.url)).get("the last"), "the last is counted", 20)
    return Exposition.read(web.url)


def run_all(pool: str, folder: Path) -> tuple[Exposition, str]:
    """Run all rows of a pool in one worker; return the exposition and the end of the worker's log."""
    rows = [row for row in ROWS if pool not in row.absent]
    with ExitStack() as stack:
        redis = RedisServer(folder)
        stack.callback(redis.stop)
        client = Celery("upstream", broker=redis.url)
        environ = {**ENVIRON, "CELERY_RESULT_BACKEND": redis.url}
        worker = Worker(redis.url, folder, app=APP, pool=pool, concurrency=4, environ=environ)
        stack.callback(worker.end)
        web = Web(redis.url, folder)
        stack.callback(web.end)
        for row in rows:
            row.publish(client)
        if pool not in NO_TERMINATE:
            wait_until(lambda: "terminated" in counted(Exposition.read(web.url)), "the long job runs", 60)
            client.control.revoke("id of terminated", terminate=True)
        expected = {customer: ends for row in rows for customer, ends in row.expected().items()}
        return settled(web, client, expected), worker.output()[-3000:]


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Exposition, str]]:
    """Return a cached function that runs all rows of a pool."""
    return cache(lambda pool: run_all(pool, tmp_path_factory.mktemp(pool)))


#: All rows of a pool share one worker, and so one process of pytest-xdist.
CELLS = [
    pytest.param(pool, row, marks=pytest.mark.xdist_group(f"outcomes of {pool}"))
    for pool in POOLS
    for row in ROWS
    if pool not in row.absent
]


@pytest.mark.parametrize(("pool", "row"), CELLS, ids=str)
def test_each_attempt_is_counted_once_by_its_outcome(
    run_of: Callable[[str], tuple[Exposition, str]], pool: str, row: Row
) -> None:
    """Each attempt is counted exactly once, with the right counter, label and customer."""
    exposition, log = run_of(pool)
    found = {customer: ends for customer, ends in counted(exposition).items() if customer.split()[0] == row.name}
    assert found == row.expected(), log


DEADLY_CELLS = [
    ("prefork", "memory_limit", "failed WorkerLostError"),  # Celery's main process ends too
    ("solo", "memory_error", "failed WorkerLostError"),
    ("solo", "sys_exit", "failed WorkerLostError"),
    ("solo", "interrupt", "failed WorkerLostError"),
    ("solo", "odd", "failed WorkerLostError"),
    (
        "solo",
        "store_down",
        "failed ConnectionError",
    ),  # Celery takes it for a lost broker, and prefetched messages return late
    ("solo", "on_failure_raises", "failed DatabaseError"),
]


@pytest.mark.parametrize(("pool", "task", "end"), DEADLY_CELLS)
def test_an_attempt_that_ends_its_worker_is_counted(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any, pool: str, task: str,
    end: str,
) -> None:  # fmt: skip
    """An attempt that ends the whole worker is counted as started and as ended."""
    start_worker(redis.url, app=APP, pool=pool, environ={**ENVIRON, "CELERY_RESULT_BACKEND": redis.url})
    send(celery_app, task, task)
    read = reader(make_app, redis)
    wait_until(lambda: counted(read()) == {task: with_starts({end: 1})}, f"{task} is counted as {end}", 30)


SHUTDOWNS = {
    "prefork": "aborted cancelled",
    "threads": "completed",  # Celery cannot end a thread, so the worker waits for it
    "solo": "failed NotImplementedError",  # solo cannot cancel; Celery raises this inside the job
    "gevent": "aborted cancelled",
}
if not DIFFERENCES["cold_shutdown_cancels"].holds:
    LOST = "failed WorkerLostError"
    SHUTDOWNS = {"prefork": LOST, "threads": "completed", "solo": "completed", "gevent": f"completed or {LOST}"}
#: A key that exists on Redis while a worker listens for remote control commands.
COMMANDS = "_kombu.binding.celery.pidbox"
SOLO_OUTLIVES_SIGQUIT = "NotImpl" in SHUTDOWNS["solo"] and not DIFFERENCES["solo_quits"].holds


def wait_for_stop(worker: Worker, admin: Redis, pool: str, how: str) -> None:
    """Wait until the shutdown is under way. In a warm one of prefork and threads, the worker has left the broker."""
    worker.wait_for(f"{how} shutdown|NotImplementedError")
    if how == "Warm" and pool in ("prefork", "threads"):  # solo runs the attempt in the main thread, gevent polls
        wait_until(lambda: not admin.exists(COMMANDS), "the worker listens for no more commands")


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("signals", [["SIGTERM"], ["SIGQUIT"], ["SIGINT", "SIGINT"]], ids="-".join)
def test_an_attempt_that_runs_during_a_shutdown_is_counted(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any, pool: str,
    signals: list[str], admin: Redis,
) -> None:  # fmt: skip
    """An attempt completes in a warm shutdown and is ended in a cold one; its end is counted in both."""
    worker = start_worker(redis.url, app=APP, pool=pool, environ=ENVIRON)
    read = reader(make_app, redis)
    ends = "completed" if signals == ["SIGTERM"] else SHUTDOWNS[pool]
    send(celery_app, "middle", "wait")
    wait_until(lambda: "middle" in counted(read()), "the attempt has begun", 30)
    for name in signals:
        worker.send_signal(getattr(signal, name))
        if name == "SIGINT":
            worker.wait_for("Warm shutdown")  # now the handler of the second signal is installed
    if "completed" in ends:
        wait_for_stop(worker, admin, pool, "Warm" if signals == ["SIGTERM"] else "Cold")
        admin.set(RELEASED, "yes")
    if SOLO_OUTLIVES_SIGQUIT and (pool, signals) == ("solo", ["SIGQUIT"]):
        worker.wait_for("NotImplementedError")
        worker.end()
    worker.wait(30)
    assert counted(read()) in [{"middle": with_starts({end: 1})} for end in ends.split(" or ")], worker.output()[-3000:]


def test_an_attempt_whose_broker_connection_was_lost_is_cancelled(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """An attempt with late acknowledgement, cancelled on connection loss, is counted as aborted, cancelled."""
    with LossyProxy(redis.port) as proxy:
        environ = {**ENVIRON, "CELERY_HEALTH_METRICS_STORE": redis.url}
        start_worker(proxy.url, app=APP, environ=environ)
        read = reader(make_app, redis)
        send(celery_app, "cut", "work_late", seconds=60)
        wait_until(lambda: "cut" in counted(read()), "the attempt has begun", 30)
        proxy.cut()
        wait_until(lambda: counted(read())["cut"]["aborted cancelled"] == 1, "it is cancelled", 30)


@pytest.mark.slow
def test_no_count_is_lost_with_one_process_for_each_job(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """200 jobs in 200 pool processes, and the tasks that they run eagerly, are all counted."""
    environ = {"CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.01"}
    start_worker(redis.url, "--max-tasks-per-child=1", app=APP, concurrency=8, environ=environ)
    read = reader(make_app, redis)
    for _ in range(190):
        send(celery_app, "many")
    for _ in range(10):
        send(celery_app, "eager", "eager_inside")
    inner = Counter({"started": 20, "completed": 10, "failed DatabaseError": 10})
    expected = {"many": with_starts({"completed": 190}), "eager": with_starts({"completed": 10}), "eager inner": inner}
    wait_until(lambda: counted(read()) == expected, "all are counted", 90)
