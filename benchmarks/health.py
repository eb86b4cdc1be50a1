"""How long ``health/`` takes, beside Celery's own calls: ``python -m benchmarks.health [--quick]``.

Everything that is compared runs interleaved, on one machine, with a Redis and
workers of its own. Ratios hold elsewhere; milliseconds do not. The nodes of the
crowd are one process that answers under many names: it costs about as much as
the asking side, so the figures are upper bounds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from celery import Celery
from flask import Flask
from kombu import Consumer, Producer, Queue

from celery_health_bp import CeleryHealth, Settings, create_blueprint
from celery_health_bp.fleet import COMMANDS
from tests.nodes import REPLIES
from tests.processes import ROOT, Process, Worker, celery_environ, wait_until
from tests.servers import RedisServer, free_port

HEALTH = "/api/celery/health/"
#: ``make bench`` installs Flower there; without it the comparison leaves it out.
FLOWER = ROOT / ".bench" / "bin" / "celery"


def timed(subjects: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each subject, interleaved."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, subject in subjects.items():
            began = time.perf_counter()
            subject()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(found) * 1000 for name, found in seconds.items()}


def web(app: Celery, **settings: Any) -> Any:
    """A test client of an application with the blueprint and an empty view."""
    flask = Flask("web")
    flask.register_blueprint(
        create_blueprint(CeleryHealth(lambda: app, Settings(**settings))), url_prefix="/api/celery"
    )
    flask.add_url_rule("/empty", view_func=lambda: "")
    return flask.test_client()


def workers(redis: RedisServer, folder: Path, stack: ExitStack, quick: bool) -> None:
    """Cold and warm with three real workers, beside stock inspect and an empty view."""
    for number in range(3):
        stack.callback(Worker(redis.url, folder, name=f"worker{number}", concurrency=1).end)
    app = Celery("upstream", broker=redis.url)
    cold, warm, inspect = web(app, cache_seconds=0), web(app, cache_seconds=3600), app.control.inspect()
    wait_until(lambda: cold.get(HEALTH).json["workers"].get("worker_count") == 3, "all workers are known")
    warm.get(HEALTH)
    subjects: dict[str, Callable[[], Any]] = {
        "cold": lambda: cold.get(HEALTH),
        "stock ping": inspect.ping,
        "stock ping + active + scheduled": lambda: (inspect.ping(), inspect.active(), inspect.scheduled()),
    }
    if FLOWER.exists():
        subjects["Flower /api/workers?refresh=1"] = flower(redis, folder, stack)
    slow = timed(subjects, 2 if quick else 10)
    slow["cold"] = timed({"cold": lambda: cold.get(HEALTH)}, 20 if quick else 300)["cold"]
    show("three workers", slow, "cold")
    show("warm", timed({"warm": lambda: warm.get(HEALTH), "empty view": lambda: warm.get("/empty")}, 1000), "warm")


def flower(redis: RedisServer, folder: Path, stack: ExitStack) -> Callable[[], Any]:
    """A refresh of Flower, from a virtual environment of its own."""
    port = free_port()
    command = [str(FLOWER), "--broker", redis.url, "flower", "--address=127.0.0.1", f"--port={port}"]
    environ = {**celery_environ(redis.url), "FLOWER_UNAUTHENTICATED_API": "true"}
    process = Process(command, folder / "flower.log", environ)
    stack.callback(process.end)
    process.wait_for("Connected to")
    url = f"http://127.0.0.1:{port}/api/workers?refresh=1"
    return lambda: urlopen(url, timeout=30).read()


def crowd(url: str, size: int) -> None:
    """Answer as so many nodes, until the process is ended."""
    app = Celery(broker=url)
    mailbox = app.control.mailbox
    with app.connection_for_read() as connection:
        channel = connection.default_channel

        def answer(body: dict[str, Any], message: Any) -> None:
            for number in range(size if body["method"] in REPLIES else 0):
                reply = {f"node{number}@crowd": REPLIES[body["method"]]}
                mailbox._publish_reply(reply, **body["reply_to"], ticket=body["ticket"], channel=channel)

        with Consumer(channel, [mailbox.get_queue("crowd")], no_ack=True, callbacks=[answer]):
            while True:
                with suppress(TimeoutError):
                    connection.drain_events(timeout=1)


def bare_drain(app: Celery, size: int) -> Callable[[], None]:
    """The same questions and replies with kombu alone: the least that can be done."""
    mailbox, seen = app.control.mailbox, [0]
    connection = app.connection_for_write()
    channel = connection.default_channel
    queue = Queue("bare", exchange=mailbox.reply_exchange, routing_key="bare", durable=False, auto_delete=True)

    def count(body: Any, message: Any) -> None:
        seen[0] += 1

    Consumer(channel, [queue], no_ack=True, callbacks=[count]).consume()
    producer = Producer(channel, auto_declare=False)

    def ask() -> None:
        seen[0] = 0
        for command in COMMANDS:
            reply_to = {"exchange": mailbox.reply_exchange.name, "routing_key": "bare"}
            body = {"method": command, "arguments": {}, "ticket": command, "reply_to": reply_to}
            producer.publish(body, exchange=mailbox.exchange.name, declare=[mailbox.exchange])
        while seen[0] < size * len(COMMANDS):
            connection.drain_events(timeout=10)

    return ask


def crowds(redis: RedisServer, quick: bool) -> None:
    """50 and 200 nodes, beside a bare drain of the same replies."""
    for size in (50, 200):
        process = multiprocessing.get_context("spawn").Process(target=crowd, args=(redis.url, size), daemon=True)
        process.start()
        try:
            app = Celery("upstream", broker=redis.url)
            client = web(app, cache_seconds=0, timeout_seconds=20)
            wait_until(lambda c=client, n=size: c.get(HEALTH).json["workers"].get("worker_count") == n, "all known", 60)
            subjects = {"health/": lambda c=client: c.get(HEALTH), "bare drain": bare_drain(app, size)}
            show(f"{size} nodes", timed(subjects, 3 if quick else 20), "health/")
        finally:
            process.terminate()
            process.join()


def show(title: str, found: dict[str, float], subject: str) -> None:
    """One line per measured subject, as a ratio to ours."""
    print(f"\n{title}")
    for name, milliseconds in found.items():
        print(f"  {name:34} {milliseconds:9.2f} ms   x {milliseconds / found[subject]:.2f}")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds: does it run, not how fast")
    quick = parser.parse_args().quick
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = RedisServer(folder)
        stack.callback(redis.stop)
        crowds(redis, quick)
        workers(redis, folder, stack, quick)


if __name__ == "__main__":
    main()
