"""One task for each way in which an attempt can end. The customer is the name of the row in the tests."""

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

#: A key on the broker. The tasks that wait return once a test has set it.
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
    """An exception that ``except Exception`` does not catch."""


class Unpicklable(Exception):
    """An exception that cannot be pickled, so no child can send it to the main process."""


@app.task
def work(customer_id: str, seconds: float = 0) -> str:
    """Sleep for so many seconds, then return."""
    time.sleep(seconds)
    return "done"


@app.task(acks_late=True)
def work_late(customer_id: str, seconds: float = 0) -> str:
    """Sleep for so many seconds, then return. Acknowledged late."""
    time.sleep(seconds)
    return "done"


def wait_for_release() -> None:
    """Wait until the test has set the key ``RELEASED``."""
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
    """Return after the release. Acknowledged late."""
    wait_for_release()
    return "done"


@app.task
def wait_and_fail(customer_id: str) -> None:
    """Raise the user's error after the release."""
    wait_for_release()
    raise DatabaseError("no such table")


@app.task
def add(first: int, second: int, customer_id: str) -> int:
    """Add two numbers. In a chain, the first is the result of the previous task."""
    return first + second


@app.task
def total(numbers: list[int], customer_id: str) -> int:
    """Sum the results of a chord."""
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
    """Exceed the soft time limit."""
    time.sleep(30)


@app.task(soft_time_limit=1)
def soft_limit_caught(customer_id: str) -> str:
    """Exceed the soft time limit, catch it and return."""
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        return "in time"
    return "late"


@app.task(time_limit=1)
def hard_limit(customer_id: str) -> None:
    """Exceed the hard time limit."""
    time.sleep(30)


@app.task
def kill(customer_id: str) -> None:
    """Kill its own process."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def os_exit(customer_id: str) -> None:
    """End its own process with ``os._exit``."""
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
    """Raise ``MemoryError``."""
    raise MemoryError


@app.task
def memory_limit(customer_id: str) -> int:
    """Allocate more memory than its process may have."""
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    return len(bytearray(8 << 30))


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def kill_once(self: Task, customer_id: str) -> str:
    """Kill its own process; return on redelivery."""
    if not self.request.delivery_info["redelivered"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@app.task(retry_on_worker_lost=True, default_retry_delay=0, max_retries=1)
def kill_retried(customer_id: str) -> None:
    """Kill its own process. Celery 5.7 and later retry it."""
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
    """Fail after one automatic retry."""
    raise DatabaseError("locked")


@app.task(bind=True, default_retry_delay=0)
def retry_quietly(self: Task, customer_id: str) -> str:
    """Publish a retry without raising, and return."""
    if not self.request.retries:
        self.retry(throw=False)
    return "done"


@app.task
def ignore(customer_id: str) -> None:
    """Raise ``Ignore``."""
    raise Ignore


@app.task(acks_late=True)
def reject(customer_id: str) -> None:
    """Reject the message without requeueing it."""
    raise Reject("no", requeue=False)


@app.task(bind=True, acks_late=True)
def requeue(self: Task, customer_id: str) -> str:
    """Requeue the message once; return on its redelivery."""
    if not self.request.delivery_info["redelivered"]:
        raise Reject("again", requeue=True)
    return "done"


@app.task(bind=True)
def replace(self: Task, customer_id: str) -> None:
    """Replace itself with another task."""
    raise self.replace(work.s(customer_id))


@app.task
def unserialisable(customer_id: str) -> object:
    """Return a value that cannot be serialised."""
    return object()


class StoreDown(MonitoredTask):
    """A task whose result backend refuses connections."""

    abstract = True

    @cached_property
    def backend(self) -> RedisBackend:
        """Return a backend on a closed port."""
        return RedisBackend(url="redis://127.0.0.1:1/0", app=self.app)


@app.task(base=StoreDown)
def store_down(customer_id: str) -> str:
    """Return. The result backend is down."""
    return "done"


@app.task
def eager_inside(customer_id: str) -> str:
    """Run two other tasks eagerly in its own process."""
    work.apply(kwargs={"customer_id": f"{customer_id} inner"})
    fail.apply(kwargs={"customer_id": f"{customer_id} inner"})
    return "done"


@app.task
def canvas(customer_id: str) -> str:
    """Publish a chain of two, a group of two and a chord of two: seven attempts."""
    inner = {"customer_id": f"{customer_id} inner"}
    chain(add.s(1, 1, **inner), add.s(1, **inner)).apply_async()
    group(add.s(1, n, **inner) for n in (1, 2)).apply_async()
    chord([add.s(1, n, **inner) for n in (1, 2)], total.s(**inner)).apply_async()
    return "done"


@app.task
def direct_call(customer_id: str) -> str:
    """Call another task as a function, which is no attempt."""
    work(customer_id=f"{customer_id} inner")
    return "done"


class Raising(MonitoredTask):
    """A task with a handler that raises, the one named in ``where``."""

    abstract = True
    where = ""

    def _raise(self, where: str) -> None:
        if where == self.where:
            raise DatabaseError(where)

    def before_start(self, *args: Any) -> None:
        """Raise if ``where`` names this handler."""
        self._raise("before_start")

    def on_success(self, *args: Any) -> None:
        """Raise if ``where`` names this handler."""
        self._raise("on_success")

    def after_return(self, *args: Any) -> None:
        """Raise if ``where`` names this handler."""
        self._raise("after_return")

    def on_failure(self, *args: Any) -> None:
        """Raise if ``where`` names this handler."""
        self._raise("on_failure")


class Killing(MonitoredTask):
    """A task whose ``on_success`` kills the process after the result has been stored."""

    abstract = True

    def on_success(self, *args: Any) -> None:
        """Kill its own process."""
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(base=Killing)
def kill_after_success(customer_id: str) -> str:
    """Return. The handler kills the process."""
    return "done"


@app.task(base=Raising, where="before_start")
def before_start_raises(customer_id: str) -> None:
    """Do nothing. The handler raises first."""


@app.task(base=Raising, where="on_success")
def on_success_raises(customer_id: str) -> None:
    """Return. The handler raises."""


@app.task(base=Raising, where="after_return")
def after_return_raises(customer_id: str) -> None:
    """Return. The handler raises."""


@app.task(base=Raising, where="on_failure")
def on_failure_raises(customer_id: str) -> None:
    """Raise. The handler raises another error."""
    raise KeyError(customer_id)
