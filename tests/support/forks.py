"""Fork a thousand times while threads count and flush; print how many attempts the parent counted."""

from __future__ import annotations

import faulthandler
import os
import sys
from threading import Event, Thread

from celery import Celery

from celery_health_bp import MonitoredTask
from celery_health_bp.counting.outcomes import COMPLETED
from celery_health_bp.counting.recorder import recorder_of

app = Celery("upstream", broker=sys.argv[1], task_cls=MonitoredTask)
app.conf.celery_health = {"flush_interval_seconds": 0.001}


@app.task
def job(customer_id: str) -> None:
    """Do nothing."""


def count(customer_id: str) -> None:
    """Count one attempt, as a worker does."""
    recorder = recorder_of(app)
    recorder.start()
    recorder.ledger.count(COMPLETED, job.name, customer_id)


def main() -> None:
    """Fork, count in the child and wait for it, a thousand times; a child that fails ends this process."""
    recorder_of(app).announce()  # as the worker's step does, before the pool forks
    over, counted = Event(), [0, 0]

    def keep_counting(index: int) -> None:
        while not over.wait(0.001):
            count("parent")
            counted[index] += 1

    threads = [Thread(target=keep_counting, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(1000):
        pid = os.fork()
        if pid == 0:
            faulthandler.dump_traceback_later(10, exit=True)
            count("child")
            while not recorder_of(app).flush():
                pass  # the store may take longer than a second on a busy machine: send the same batch again
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if status:
            os._exit(1)
    over.set()
    for thread in threads:
        thread.join()
    recorder_of(app).stop()
    print(sum(counted))


if __name__ == "__main__":
    main()
