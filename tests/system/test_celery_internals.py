"""What this package leans on inside Celery and kombu has the shape that it leans on.

A failure names what changed and the file of the package that leans on it.
"""

from __future__ import annotations

from collections.abc import Callable

import celery
import kombu
from celery import Celery

from celery_health_bp.asking.fleet import COMMANDS
from tests.support.processes import Worker
from tests.support.servers import RedisServer

HERE = f"Celery {celery.__version__}, kombu {kombu.__version__}"


def changed(what: str, where: str, found: object) -> str:
    """The message of a failure."""
    return f"{HERE}: {what} is not what celery_health_bp/{where} leans on; found: {found}"


# -- the replies of a real worker, by replies.py; snapshot.py gives the same, which its own test sees --


def test_a_worker_replies_what_is_shown_of_it(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker]
) -> None:
    """The replies of a worker that runs one job and holds one for later have the keys that are read."""
    worker = start_worker(redis.url, pool="threads", concurrency=2)
    celery_app.send_task("tests.support.apps.jobs.plain", kwargs={"seconds": 60}, task_id="running")
    celery_app.send_task("tests.support.apps.jobs.plain", countdown=600, task_id="scheduled")
    worker.wait_for(r"scheduled\] received")
    worker.wait_for(r"running\] received")
    asked = celery_app.control.inspect([worker.name])
    replies = {command: getattr(asked, command)()[worker.name] for command in COMMANDS}
    expected = {
        "stats": {"pool", "uptime"},
        "active": {"id", "type", "name", "time_start"},
        "scheduled": {"eta", "request"},
    }
    for command, keys in expected.items():
        reply = replies[command] if command == "stats" else replies[command][0]
        assert keys <= reply.keys(), changed(f"the reply to {command}", "replies.py", reply)
    assert "max-concurrency" in replies["stats"]["pool"], changed("stats.pool", "replies.py", replies["stats"]["pool"])
    request = replies["scheduled"][0]["request"]
    assert request.keys() >= {"id", "type", "name"}, changed("scheduled.request", "replies.py", request)
    assert [queue["name"] for queue in replies["active_queues"]] == ["celery"]
