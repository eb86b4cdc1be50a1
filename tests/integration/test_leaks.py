"""The search for things that tests leave behind finds each kind, and ignores those that end in time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask

from tests.support import leaks
from tests.support.probes import probe
from tests.support.servers import RedisServer

#: Starts a process, prints its id, and ends: the process loses its parent.
ORPHAN = "sleep 60 >/dev/null 2>&1 & echo $!"


def test_a_thread_is_found() -> None:
    """A thread that outlives the block fails it, even a daemon."""
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait, name="left-over", daemon=True)
    with pytest.raises(AssertionError, match="thread left-over"), leaks.nothing_left({"threads"}, 0):
        thread.start()
    ended.set()
    thread.join(10)


def test_a_zombie_is_found() -> None:
    """A child process that has ended, but was not waited for, fails the block."""
    with pytest.raises(AssertionError, match="process"), leaks.nothing_left({"processes"}, 0):
        child = subprocess.Popen(["true"])
    child.wait(10)


def test_an_orphan_is_found() -> None:
    """A process whose parent has ended fails the block: an environment variable marks it."""
    with pytest.raises(AssertionError, match="sleep 60"), leaks.nothing_left({"processes"}, 0):
        pid = subprocess.run(["sh", "-c", ORPHAN], capture_output=True, check=True).stdout
    os.kill(int(pid), signal.SIGKILL)


def test_an_open_socket_is_found() -> None:
    """An open socket fails the block."""
    with pytest.raises(AssertionError, match="socket:"), leaks.nothing_left({"descriptors"}, 0):
        listener = socket.create_server(("127.0.0.1", 0))
    listener.close()


def test_a_thread_that_ends_soon_is_ignored() -> None:
    """A thread that ends within ``PATIENCE_SECONDS`` does not fail the block."""
    with leaks.nothing_left({"threads"}):
        threading.Timer(0.2, lambda: None).start()


def test_reply_queues_are_found_among_other_keys(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """Of all keys in Redis only those of reply queues are found."""
    celery_app.send_task("any")
    probe(make_app(celery_app, timeout_seconds=0.2))
    with redis.client() as client:
        found = leaks.reply_queues(leaks.names_on_redis(client))
    assert any("celery-health." in name for name in found)
    assert all("reply.celery.pidbox" in name or "celery-health." in name for name in found)
