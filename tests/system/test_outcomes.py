"""The law of attempts: every way to end, in every pool, read back from another process."""

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
from tests.support.outcomes import APP, ENVIRON, counted, reader, send, with_starts
from tests.support.processes import Web, Worker, wait_until
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.versions import DIFFERENCES

pytestmark = pytest.mark.measured
POOLS = ("prefork", "threads", "solo", "gevent")

ONE_PROCESS = dict.fromkeys(POOLS[1:], "its process is the worker's only one")
NO_TERMINATE = {
    "threads": "Celery cannot end a thread: terminate_job is not implemented",
    "solo": "the worker reads no command while it runs a job",
}
if not DIFFERENCES["gevent_terminate"].holds:
    NO_TERMINATE["gevent"] = "Celery cannot end a greenlet: terminate_job is not implemented"
NO_SOFT_LIMIT = dict.fromkeys(POOLS[1:], "Celery implements the soft limit for prefork alone")
NO_HARD_LIMIT = dict.fromkeys(("threads", "solo"), "Celery has no time limits in this pool")
AFTER_RETURN = {"completed": 1} if DIFFERENCES["handlers_after_the_end"].holds else {"failed DatabaseError": 1}
DEADLY = {"prefork": "ends the worker itself: a test of its own below"}
DEADLY_IN_SOLO = {"solo": "ends the worker itself: a test of its own below"}


@dataclass(frozen=True)
class Row:
    """How attempts end, and as what they are counted.

    Attributes:
        ends: counter and label -> attempts; ``started`` follows from the law.
        inner: the same of attempts that the task starts, or runs in its own process.
        send: publishes the job; given the client and the customer.
        absent: pool -> why the row does not exist there.
    """

    name: str
    ends: Mapping[str, int]
    send: Callable[[Celery, str], Any] | None = None
    absent: Mapping[str, str] = field(default_factory=dict)
    inner: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def publish(self, client: Celery) -> None:
        """Send the job, its customer being the row's name."""
        if self.send is not None:
            self.send(client, self.name)
        else:
            send(client, self.name, self.name)

    def expected(self) -> dict[str, Counter[str]]:
        """Customer -> what is counted for it."""
        found = {self.name: self.ends, f"{self.name} inner": self.inner}
        return {customer: with_starts(ends) for customer, ends in found.items() if ends}


def send_revoked(client: Celery, customer: str) -> None:
    """Publish a job that the workers already know as revoked."""
    task_id = f"id of {customer}"
    assert client.control.revoke(task_id, reply=True, timeout=10, limit=1)
    send(client, customer, task_id=task_id)


def send_expired(client: Celery, customer: str) -> None:
    """Publish a job that expired a minute ago."""
    expires = datetime.now(timezone.utc) - timedelta(minutes=1)
    send(client, customer, expires=expires)


def send_terminated(client: Celery, customer: str) -> None:
    """Publish a long job; ``terminate`` ends it when it runs."""
    send(client, customer, seconds=60, task_id=f"id of {customer}")


def send_bad_arguments(client: Celery, customer: str) -> None:
    """Publish arguments that the function does not take."""
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
    """The exposition once it holds what is expected, and whatever came after that."""
    with suppress(AssertionError):  # the test shows the difference
        wait_until(lambda: expected.items() <= counted(Exposition.read(web.url)).items(), "all is counted", seconds)
    send(client, "the last")
    with suppress(AssertionError):
        wait_until(lambda: counted(Exposition.read(web.url)).get("the last"), "the last is counted", 20)
    return Exposition.read(web.url)


def run_all(pool: str, folder: Path) -> tuple[Exposition, str]:
    """The exposition after one worker of a pool has run all its rows, and the end of what that worker wrote."""
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
    """The run of a pool; each pool runs once for all its rows."""
    return cache(lambda pool: run_all(pool, tmp_path_factory.mktemp(pool)))


#: All rows of a pool share one worker, and so one process of pytest-xdist.
CELLS = [
    pytest.param(pool, row, marks=pytest.mark.xdist_group(f"outcomes of {pool}"))
    for pool in POOLS
    for row in ROWS
    if pool not in row.absent
]


@pytest.mark.parametrize(("pool", "row"), CELLS, ids=str)
def test_an_attempt_is_counted_once_as_what_became_of_it(
    run_of: Callable[[str], tuple[Exposition, str]], pool: str, row: Row
) -> None:
    """A row's attempts are counted under its customer with the right label, each exactly once."""
    exposition, log = run_of(pool)
    found = {customer: ends for customer, ends in counted(exposition).items() if customer.split()[0] == row.name}
    assert found == row.expected(), log


DEADLY_CELLS = [
    ("prefork", "memory_limit", "failed WorkerLostError"),  # Celery's main process goes down with it
    ("solo", "memory_error", "failed WorkerLostError"),
    ("solo", "sys_exit", "failed WorkerLostError"),
    ("solo", "interrupt", "failed WorkerLostError"),
    ("solo", "odd", "failed WorkerLostError"),
    ("solo", "store_down", "failed ConnectionError"),  # taken for a lost broker: what was prefetched comes back late
    ("solo", "on_failure_raises", "failed DatabaseError"),
]


@pytest.mark.parametrize(("pool", "task", "end"), DEADLY_CELLS)
def test_an_attempt_that_takes_its_worker_with_it_is_counted(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any, pool: str, task: str,
    end: str,
) -> None:  # fmt: skip
    """The last attempt of a worker that goes down with it is counted as started and ended."""
    start_worker(redis.url, app=APP, pool=pool, environ={**ENVIRON, "CELERY_RESULT_BACKEND": redis.url})
    send(celery_app, task, task)
    read = reader(make_app, redis)
    wait_until(lambda: counted(read()) == {task: with_starts({end: 1})}, f"{task} is counted as {end}", 30)


SHUTDOWNS = {
    "prefork": "aborted cancelled",
    "threads": "completed",  # a thread cannot be ended: the worker waits for it
    "solo": "failed NotImplementedError",  # Celery raises it into the job: solo cannot cancel
    "gevent": "aborted cancelled",
}
if not DIFFERENCES["cold_shutdown_cancels"].holds:
    LOST = "failed WorkerLostError"
    SHUTDOWNS = {"prefork": LOST, "threads": "completed", "solo": "completed", "gevent": f"completed or {LOST}"}
#: Exists on Redis while a worker listens to commands.
COMMANDS = "_kombu.binding.celery.pidbox"
SOLO_OUTLIVES_SIGQUIT = "NotImpl" in SHUTDOWNS["solo"] and not DIFFERENCES["solo_quits"].holds


def wait_for_stop(worker: Worker, admin: Redis, pool: str, how: str) -> None:
    """Wait until a warm or cold shutdown is under way; a warm one of prefork and threads has left the broker."""
    worker.wait_for(f"{how} shutdown|NotImplementedError")
    if how == "Warm" and pool in ("prefork", "threads"):  # solo runs the attempt in the main thread, gevent polls
        wait_until(lambda: not admin.exists(COMMANDS), "the worker takes no more commands")


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("signals", [["SIGTERM"], ["SIGQUIT"], ["SIGINT", "SIGINT"]], ids="-".join)
def test_an_attempt_in_the_middle_of_a_shutdown_is_counted(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any, pool: str,
    signals: list[str], admin: Redis,
) -> None:  # fmt: skip
    """A warm shutdown lets the attempt complete, a cold one ends it, and the last counts are there either way."""
    worker = start_worker(redis.url, app=APP, pool=pool, environ=ENVIRON)
    read = reader(make_app, redis)
    ends = "completed" if signals == ["SIGTERM"] else SHUTDOWNS[pool]
    send(celery_app, "middle", "wait")
    wait_until(lambda: "middle" in counted(read()), "the attempt has begun", 30)
    for name in signals:
        worker.send_signal(getattr(signal, name))
        if name == "SIGINT":
            worker.wait_for("Warm shutdown")  # the handler of the second signal is in place
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
    """An attempt with late acknowledgement that Celery cancels is aborted as cancelled."""
    with Proxy(redis.port) as proxy:
        environ = {**ENVIRON, "CELERY_HEALTH_METRICS_STORE": redis.url}
        start_worker(proxy.url, app=APP, environ=environ)
        read = reader(make_app, redis)
        send(celery_app, "cut", "work_late", seconds=60)
        wait_until(lambda: "cut" in counted(read()), "the attempt has begun", 30)
        proxy.cut()
        wait_until(lambda: counted(read())["cut"]["aborted cancelled"] == 1, "it is cancelled", 30)


@pytest.mark.slow
def test_a_process_for_each_job_loses_none(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """200 jobs in 200 pool processes are 200 attempts completed, those that ran inside them included."""
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
