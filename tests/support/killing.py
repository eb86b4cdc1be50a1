"""Killing pool processes in such a moment that everybody knows which attempt it hits."""

from __future__ import annotations

import os
import time

from redis import Redis

#: A set of pool processes that may be killed now.
RUNNING = "tests:running"


def offer(redis: Redis, task_id: str, seconds: float) -> None:
    """Wait until the main process knows of this attempt, and let its process be chosen for so long.

    What is killed before the main process has read of its acceptance, Celery
    runs again without a word: nobody but the job itself can count that.
    """
    while any(task_id.encode() in message for message in redis.hvals("unacked")):
        time.sleep(0.001)  # acknowledged when accepted
    redis.sadd(RUNNING, os.getpid())
    time.sleep(seconds)
    if not redis.srem(RUNNING, os.getpid()):
        time.sleep(60)  # chosen: the kill is on its way, and must hit this attempt
