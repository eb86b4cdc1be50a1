"""The replies of a real worker have the keys that this package reads.

A failure names the change, and the file of the package that depends on it.
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
    """Return the message of a failure."""
    return f"{HERE}: {what} is not what celery_health_bp/{where} depends on; found: {found}"


def test_replies_of_a_worker_have_the_keys_that_are_read(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker]
) -> None:
    """The replies of a worker with a running and a scheduled job have the keys that ``replies.py`` reads."""
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
