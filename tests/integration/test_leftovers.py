"""Reply queues on the broker: those of killed processes are deleted, those of other processes stay."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask

from celery_health_bp import CeleryHealth, Settings
from celery_health_bp.asking import control_channel, reply_queue
from tests.support.nodes import ScriptedNode
from tests.support.probes import probe
from tests.support.processes import wait_until
from tests.support.scripts import ONE_CHECK, run_code
from tests.support.servers import RabbitServer, RedisServer

REPLY_BINDINGS = "_kombu.binding.reply.celery.pidbox"

#: Uses an application, then forks the given number of children; each is killed after it has published its command.
KILLED_CHECKS = """
import os, signal, sys, threading
from tests.support.apps.jobs import app
from celery_health_bp import CeleryHealth, Settings
from celery_health_bp.asking.control_channel import ControlChannel

def publish(self, *arguments):
    sent(self, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)

CeleryHealth(lambda: app, Settings()).check()
sent, ControlChannel.publish = ControlChannel.publish, publish
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        CeleryHealth(lambda: app, Settings()).check()
        os._exit(1)
    print(os.wait()[1])
"""


@pytest.mark.slow
def test_the_next_check_deletes_the_queues_of_a_hundred_killed_ones(redis: RedisServer, celery_app: Celery) -> None:
    """After 100 checks that were killed before their reply, one more check leaves no reply queue in Redis."""
    with ScriptedNode(celery_app, "a@t"):
        assert run_code(KILLED_CHECKS, redis.url, "100") == [str(int(signal.SIGKILL))] * 100
        assert redis.client().scard(REPLY_BINDINGS) == 100
        assert run_code(ONE_CHECK, redis.url) == ["healthy"]
    assert [key for key in redis.client().scan_iter() if b"reply" in key or b"celery-health" in key] == []


def test_killed_checks_leave_nothing_on_rabbitmq(rabbit: RabbitServer, make_app: Callable[..., Flask]) -> None:
    """RabbitMQ deletes an exclusive queue with its connection."""
    celery_app = Celery("upstream", broker=rabbit.url)
    with ScriptedNode(celery_app, "a@t"):
        run_code(KILLED_CHECKS, rabbit.url, "20")
        assert run_code(ONE_CHECK, rabbit.url) == ["healthy"]
        wait_until(lambda: rabbit.queues() == {"a@t.celery.pidbox"}, "only the queue of the node is left", 20)


def test_an_interpreter_does_not_wait_for_a_check_when_it_ends() -> None:
    """An interpreter ends within 10 s, although a thread is in a check with a timeout of 60 s."""
    code = """
import socket, threading, time
from celery import Celery
from celery_health_bp import CeleryHealth, Settings
listener = socket.create_server(("127.0.0.1", 0))
app = Celery(broker=f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
health = CeleryHealth(lambda: app, Settings(timeout_seconds=60))
threading.Thread(target=health.check, daemon=True).start()
while threading.active_count() < 3:
    pass
"""
    began = time.monotonic()
    run_code(code, "")  # CELERY_BROKER_URL would win over the URL in the code
    assert time.monotonic() - began < 10


def bind(redis: RedisServer, name: str) -> None:
    """Leave a binding and a reply, as a killed process does."""
    redis.client().sadd(REPLY_BINDINGS, "\x06\x16".join((name, "", name)))
    redis.client().lpush(name, "reply")


HOUR = 3600


@pytest.mark.leaves("broker", reason="queues that a check must not delete")
@pytest.mark.parametrize(
    ("host", "pid", "lease", "removed"),
    [
        (reply_queue._host(), 2**22 + 1, HOUR, True),  # no such process
        (reply_queue._host(), os.getppid(), HOUR, False),
        (reply_queue._host(), os.getpid(), HOUR, True),  # not a queue of this process
        ("elsewhere", 1, HOUR, False),
        ("elsewhere", 1, -60, False),  # clocks differ
        ("elsewhere", 1, -HOUR, True),
    ],
    ids=["dead", "alive", "own", "other host", "lease just ended", "lease ended long ago"],
)
def test_only_abandoned_queues_are_deleted(
    host: str,
    pid: int,
    lease: int,
    removed: bool,
    redis: RedisServer,
    celery_app: Celery,
    make_app: Callable[..., Flask],
) -> None:
    """A check deletes list and binding of a queue if its process is dead, or its lease ended long ago."""
    name = f"celery-health.{host}.{pid}.{int(time.time()) + lease}.abc"
    bind(redis, name)
    probe(make_app(celery_app, timeout_seconds=0.5))
    assert redis.client().exists(name) == (not removed)
    bindings = redis.client().smembers(REPLY_BINDINGS)
    assert any(name.encode() in member for member in bindings) == (not removed)


@pytest.mark.leaves("broker", reason="queues that a check must not delete")
def test_queues_of_other_programs_stay(redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask]) -> None:
    """A check keeps reply queues of Celery, and names that only resemble ours."""
    names = ["abc.reply.celery.pidbox", "celery-health", "celery-health.x.y.z", f"celery-health.{socket.gethostname()}"]
    for name in names:
        bind(redis, name)
    probe(make_app(celery_app, timeout_seconds=0.5))
    assert redis.client().exists(*names) == len(names)


def test_a_queue_whose_lease_has_ended_is_replaced(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With leases that end at once each check is 200, with a new queue, and deletes the old one."""
    monkeypatch.setattr(reply_queue, "LEASE_SECONDS", 0)
    app = make_app(celery_app, cache_seconds=0)
    seen: list[set[bytes]] = []
    with ScriptedNode(celery_app, "a@t"):
        for _ in range(3):
            assert probe(app).status == 200
            seen.append(redis.client().smembers(REPLY_BINDINGS))
    assert [len(names) for names in seen] == [1, 1, 1]
    assert len(set.union(*seen)) == 3


def test_a_reply_after_the_end_leaves_no_list(
    redis: RedisServer, celery_app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of a reply that a worker sends just after our binding was deleted is deleted too."""
    monkeypatch.setattr(control_channel, "SETTLE_SECONDS", 1)
    health = CeleryHealth(lambda: celery_app, Settings(timeout_seconds=0.2))
    health.check()
    client = redis.client()
    (member,) = client.smembers(REPLY_BINDINGS)
    name = member.split(b"\x06\x16")[-1]
    ending = threading.Thread(target=health.close)
    ending.start()
    wait_until(lambda: not client.exists(REPLY_BINDINGS), "the binding is gone")
    client.lpush(name, "reply")
    ending.join(10)
    assert not client.exists(name)
