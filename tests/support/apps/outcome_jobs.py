"""One task for each way in which an attempt can end; counted under the row's name as customer."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from functools import cached_property
from threading import Lock
from typing import Any

from celery import Celery, Task, chain, chord, group
from celery.backends.redis import RedisBackend
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from redis import Redis

from celery_health_bp import MonitoredTask

broker_url = os.environ.get("CELERY_BROKER_URL", "memory://")

#: Key on the broker: jobs that wait go on when it exists.
RELEASED = "tests:released"

app = Celery("upstream", broker=broker_url, task_cls=MonitoredTask)
app.conf.update(
    result_backend=os.environ.get("CELERY_RESULT_BACKEND"),
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    broker_transport_options={"visibility_timeout": 3600},
    result_backend_transport_options={"retry_policy": {"max_retries": 0}},
    worker_cancel_long_running_tasks_on_connection_loss=True,
    worker_soft_shutdown_timeout=float(os.environ.get("SOFT_SHUTDOWN_SECONDS", "0")),
)


class DatabaseError(Exception):
    """An error of the user's code."""


class OddError(BaseException):
    """What no ``except Exception`` catches."""


class Unpicklable(Exception):
    """Cannot be sent from the child to the main process."""


@app.task
def work(customer_id: str, seconds: float = 0) -> str:
    """Return, after so many seconds."""
    time.sleep(seconds)
    return "done"


@app.task(acks_late=True)
def work_late(customer_id: str, seconds: float = 0) -> str:
    """Return, after so many seconds; acknowledged then."""
    time.sleep(seconds)
    return "done"


def wait_for_release() -> None:
    """Return when the test has set the key ``RELEASED``."""
    with Redis.from_url(broker_url) as redis:
        while not redis.exists(RELEASED):
            time.sleep(0.05)


@app.task
def wait(customer_id: str) -> str:
    """Return after the release."""
    wait_for_release()
    return "done"


@app.task(acks_late=True)
def wait_late(customer_id: str) -> str:
    """Return after the release; acknowledged then."""
    wait_for_release()
    return "done"


@app.task
def wait_and_fail(customer_id: str) -> None:
    """Raise the user's error after the release."""
    wait_for_release()
    raise DatabaseError("no such table")


@app.task
def add(first: int, second: int, customer_id: str) -> int:
    """Take the result of the task before it."""
    return first + second


@app.task
def total(numbers: list[int], customer_id: str) -> int:
    """End a chord."""
    return sum(numbers)


@app.task
def fail(customer_id: str) -> None:
    """Raise the user's error."""
    raise DatabaseError("no such table")


@app.task
def unpicklable(customer_id: str) -> None:
    """Raise an exception that holds a lock."""
    raise Unpicklable("locked", Lock())


@app.task(soft_time_limit=1)
def soft_limit(customer_id: str) -> None:
    """Run into the soft limit."""
    time.sleep(30)


@app.task(soft_time_limit=1)
def soft_limit_caught(customer_id: str) -> str:
    """Run into the soft limit and return all the same."""
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        return "in time"
    return "late"


@app.task(time_limit=1)
def hard_limit(customer_id: str) -> None:
    """Run into the hard limit."""
    time.sleep(30)


@app.task
def kill(customer_id: str) -> None:
    """Kill its own process."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def os_exit(customer_id: str) -> None:
    """End its own process without ceremony."""
    os._exit(3)


@app.task
def sys_exit(customer_id: str) -> None:
    """Call ``sys.exit``."""
    sys.exit(3)


@app.task
def interrupt(customer_id: str) -> None:
    """Raise KeyboardInterrupt."""
    raise KeyboardInterrupt


@app.task
def odd(customer_id: str) -> None:
    """Raise a BaseException."""
    raise OddError


@app.task
def memory_error(customer_id: str) -> None:
    """Raise what Python raises when it finds no memory."""
    raise MemoryError


@app.task
def memory_limit(customer_id: str) -> int:
    """Ask for more memory than the limit of its process allows."""
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    return len(bytearray(8 << 30))


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def kill_once(self: Task, customer_id: str) -> str:
    """Kill its own process; return when the message comes again."""
    if not self.request.delivery_info["redelivered"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@app.task(retry_on_worker_lost=True, default_retry_delay=0, max_retries=1)
def kill_retried(customer_id: str) -> None:
    """Kill its own process; told to Celery as a reason to be retried."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(bind=True, max_retries=2, default_retry_delay=0)
def retry(self: Task, customer_id: str) -> None:
    """Ask for a retry twice, then fail."""
    try:
        raise DatabaseError("locked")
    except DatabaseError as exc:
        raise self.retry(exc=exc) from exc


@app.task(autoretry_for=(DatabaseError,), default_retry_delay=0, max_retries=1)
def autoretry(customer_id: str) -> None:
    """Be retried once, then fail."""
    raise DatabaseError("locked")


@app.task(bind=True, default_retry_delay=0)
def retry_quietly(self: Task, customer_id: str) -> str:
    """Send itself again, and return."""
    if not self.request.retries:
        self.retry(throw=False)
    return "done"


@app.task
def ignore(customer_id: str) -> None:
    """Ask to be ignored."""
    raise Ignore


@app.task(acks_late=True)
def reject(customer_id: str) -> None:
    """Reject the message for good."""
    raise Reject("no", requeue=False)


@app.task(bind=True, acks_late=True)
def requeue(self: Task, customer_id: str) -> str:
    """Reject the message once; return when it comes again."""
    if not self.request.delivery_info["redelivered"]:
        raise Reject("again", requeue=True)
    return "done"


@app.task(bind=True)
def replace(self: Task, customer_id: str) -> None:
    """Have another task run in its place."""
    raise self.replace(work.s(customer_id))


@app.task
def unserialisable(customer_id: str) -> object:
    """Return what no serializer takes."""
    return object()


class StoreDown(MonitoredTask):
    """Its results go to a Redis that refuses connections."""

    abstract = True

    @cached_property
    def backend(self) -> RedisBackend:
        """A backend on a port that nobody listens on."""
        return RedisBackend(url="redis://127.0.0.1:1/0", app=self.app)


@app.task(base=StoreDown)
def store_down(customer_id: str) -> str:
    """Return to a result backend that is down."""
    return "done"


@app.task
def eager_inside(customer_id: str) -> str:
    """Run two others in its own process."""
    work.apply(kwargs={"customer_id": f"{customer_id} inner"})
    fail.apply(kwargs={"customer_id": f"{customer_id} inner"})
    return "done"


@app.task
def canvas(customer_id: str) -> str:
    """Start a chain of two, a group of two, and a chord of two: seven attempts."""
    inner = {"customer_id": f"{customer_id} inner"}
    chain(add.s(1, 1, **inner), add.s(1, **inner)).apply_async()
    group(add.s(1, n, **inner) for n in (1, 2)).apply_async()
    chord([add.s(1, n, **inner) for n in (1, 2)], total.s(**inner)).apply_async()
    return "done"


@app.task
def direct_call(customer_id: str) -> str:
    """Call another task as a function: no attempt."""
    work(customer_id=f"{customer_id} inner")
    return "done"


class Raising(MonitoredTask):
    """Its handlers raise."""

    abstract = True
    where = ""

    def _raise(self, where: str) -> None:
        if where == self.where:
            raise DatabaseError(where)

    def before_start(self, *args: Any) -> None:
        """Raise if told so."""
        self._raise("before_start")

    def on_success(self, *args: Any) -> None:
        """Raise if told so."""
        self._raise("on_success")

    def after_return(self, *args: Any) -> None:
        """Raise if told so."""
        self._raise("after_return")

    def on_failure(self, *args: Any) -> None:
        """Raise if told so."""
        self._raise("on_failure")


class Killing(MonitoredTask):
    """Its handler kills the process, when the result has been stored."""

    abstract = True

    def on_success(self, *args: Any) -> None:
        """Kill its own process."""
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(base=Killing)
def kill_after_success(customer_id: str) -> str:
    """Return to a handler that kills."""
    return "done"


@app.task(base=Raising, where="before_start")
def before_start_raises(customer_id: str) -> None:
    """Not be reached."""


@app.task(base=Raising, where="on_success")
def on_success_raises(customer_id: str) -> None:
    """Return to a handler that raises."""


@app.task(base=Raising, where="after_return")
def after_return_raises(customer_id: str) -> None:
    """Return to a handler that raises."""


@app.task(base=Raising, where="on_failure")
def on_failure_raises(customer_id: str) -> None:
    """Fail into a handler that raises another error."""
    raise KeyError(customer_id)
