"""Fork while a thread uses a ``CeleryHealth`` for the first time; a check in each child must end.

Arguments: ``BROKER STORE NUMBER`` spreads this number of forks over the first use, ``BROKER STORE hang`` forks while
the factory hangs, ``BROKER STORE queues`` while a thread reads the queues of an app. The exit code counts failures.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import time
from threading import Event, Thread

from celery import Celery
from celery.app.amqp import AMQP

from celery_health_bp import CeleryHealth, Settings, first_use

BROKER, STORE, TIMES = sys.argv[1:4]
#: Once all modules are imported a first use takes some milliseconds; the forks are spread over them.
STEPS, STEP_SECONDS = 50, 0.0002


def answer(health: CeleryHealth) -> str:
    """Return the error of a check, and the source of the totals."""
    return f"{health.check().error}; {health.job_counts()[0][0]}"


def forked_answer(health: CeleryHealth, expected: str) -> int:
    """Fork, and return the child's exit code; a child that hangs prints its traceback and ends."""
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(20, exit=True)
        # The first thread of a child may have the id of one that held an RLock in the parent, and could enter it.
        Thread(target=Event().wait, daemon=True).start()
        found = answer(health)
        if found != expected:
            print(found, file=sys.stderr)
        os._exit(found != expected)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def new_health(entered: Event, go_on: Event | None = None) -> CeleryHealth:
    """Return a health whose factory sets ``entered`` and, in this process, waits for ``go_on``."""
    parent = os.getpid()

    def factory() -> Celery:
        entered.set()
        if go_on is not None and os.getpid() == parent:
            go_on.wait(60)
        return Celery("upstream", broker=BROKER, set_as_current=False)

    return CeleryHealth(factory, Settings(metrics_store=STORE))


def spread_forks(times: int, expected: str) -> int:
    """Fork ``times`` children during first uses; return how many failed."""
    entered, failed = Event(), 0
    for number in range(times):
        entered.clear()
        health = new_health(entered)
        thread = Thread(target=answer, args=[health])
        thread.start()
        entered.wait(20)
        until = time.monotonic() + number % STEPS * STEP_SECONDS
        while time.monotonic() < until:
            pass
        failed += forked_answer(health, expected) != 0
        thread.join()
    return failed


def fork_while_the_factory_hangs(expected: str) -> int:
    """Fork while another thread is inside the factory; return whether the child failed."""
    entered, go_on = Event(), Event()
    first_use.FORK_PATIENCE_SECONDS = 0.2
    health = new_health(entered, go_on)
    thread = Thread(target=answer, args=[health])
    thread.start()
    entered.wait(20)
    failed = forked_answer(health, expected)
    go_on.set()
    thread.join()
    return failed


def fork_while_queues_are_read(expected: str) -> int:
    """Fork while another thread holds the lock of ``app.amqp.queues``; return whether the child failed."""
    reading, go_on = Event(), Event()
    health = new_health(Event())
    answer(health)

    def read() -> None:
        with vars(AMQP)["queues"].lock:
            reading.set()
            go_on.wait(60)

    thread = Thread(target=read)
    thread.start()
    reading.wait(20)
    failed = forked_answer(health, expected)
    go_on.set()
    thread.join()
    return failed


def main() -> int:
    """Return how many children failed, at most 100."""
    expected = answer(new_health(Event()))
    if TIMES == "hang":
        return fork_while_the_factory_hangs(expected)
    if TIMES == "queues":
        return fork_while_queues_are_read(expected)
    return min(spread_forks(int(TIMES), expected), 100)


if __name__ == "__main__":
    sys.exit(main())
