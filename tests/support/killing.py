"""Kill pool processes only at moments when it is certain which attempt is lost."""

from __future__ import annotations

import os
import time

from redis import Redis

#: Redis set with the process ids that may be killed now.
RUNNING = "tests:running"


def allow_kill(redis: Redis, task_id: str, seconds: float) -> None:
    """Allow the test to kill this process for some seconds, once the main process knows of the attempt.

    If a process is killed before the main process has read that the attempt was accepted,
    Celery runs the job again without a trace: only the job itself could count that.

    Arguments:
        redis: the broker; it holds the set too.
        task_id: the attempt that runs in this process.
        seconds: how long the process may be killed.
    """
    while any(task_id.encode() in message for message in redis.hvals("unacked")):
        time.sleep(0.001)  # a message is acknowledged when its attempt is accepted
    redis.sadd(RUNNING, os.getpid())
    time.sleep(seconds)
    if not redis.srem(RUNNING, os.getpid()):
        time.sleep(60)  # removed from the set by the test: wait for the kill, which must hit this attempt
