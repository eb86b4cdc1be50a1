"""Simulate many nodes in one process, and receive their replies with kombu alone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.synchronize import Event
from typing import Any
from uuid import uuid4

from celery import Celery
from kombu import Connection, Consumer, Producer, Queue

from celery_health_bp.wire import STATS_KEY
from tests.support.nodes import REPLIES

Replies = dict[str, Any]

#: Replies of nodes without this package to each command: five messages.
PLAIN: Replies = REPLIES
#: Reply of workers with this package: one message.
MONITORED: Replies = {
    "stats": {
        **REPLIES["stats"],
        STATS_KEY: {
            "store": {"kind": "redis", "place": "redis://localhost:6379/0", "keys": "{celery_health}", "id": "1"},
            "tasks": {"registered": 10, "counted": 10, "not_counted": []},
            "inspection": {"active_queues": [{"name": "celery"}], "active": [], "scheduled": [], "reserved": 0},
        },
    }
}
#: Placeholder for the ticket in prepared replies.
TICKET = "TICKET"


@contextmanager
def crowd(url: str, size: int, replies: Replies) -> Iterator[None]:
    """Run a process that replies for ``size`` nodes on this Redis."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=answer_as, args=(url, size, replies, ready), daemon=True)
    process.start()
    try:
        if not ready.wait(60):
            raise RuntimeError(f"{size} nodes did not start")
        yield
    finally:
        process.terminate()
        process.join()


def answer_as(url: str, size: int, replies: Replies, ready: Event) -> None:
    """Reply for ``size`` nodes until the process is terminated.

    The nodes of a real fleet write their replies in parallel, each on its own
    machine. To be as fast, this process lets kombu prepare all replies, and only
    inserts the ticket on request.
    """
    app = Celery(broker=url)
    mailbox = app.control.mailbox
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        written = {command: _written(mailbox, channel, replies[command], size) for command in replies}

        def answer(body: dict[str, Any], message: Any) -> None:
            texts = [text.replace(TICKET, body["ticket"]) for text in written.get(body["method"], ())]
            if texts:
                channel.client.lpush(body["reply_to"]["routing_key"], *texts)

        with Consumer(channel, [mailbox.get_queue("crowd")], no_ack=True, callbacks=[answer]):
            ready.set()
            while True:
                with suppress(TimeoutError):
                    connection.drain_events(timeout=1)


def _written(mailbox: Any, channel: Any, reply: Any, size: int) -> list[str]:
    """Return the messages that kombu creates for one command's replies of all nodes."""
    name = "written"
    queue = Queue(name, exchange=mailbox.reply_exchange, routing_key=name, durable=False, auto_delete=True)(channel)
    queue.declare()
    for number in range(size):
        mailbox._publish_reply(
            {f"node{number}@crowd": reply}, mailbox.reply_exchange.name, name, TICKET, channel=channel
        )
    texts = [channel.client.rpop(name).decode() for _ in range(size)]
    queue.delete()
    return texts


def bare_drain(app: Celery, connection: Connection, size: int, commands: Collection[str]) -> Callable[[], None]:
    """Return a function that sends the same commands and receives the same replies with kombu alone."""
    mailbox, seen = app.control.mailbox, [0]
    channel = connection.default_channel
    exchange = mailbox.reply_exchange
    name = f"{uuid4()}.{exchange.name}"
    queue = Queue(name, exchange=exchange, routing_key=name, durable=False, auto_delete=True)

    def count(body: Any, message: Any) -> None:
        seen[0] += 1

    Consumer(channel, [queue], no_ack=True, callbacks=[count]).consume()
    producer = Producer(channel, auto_declare=False)

    def ask() -> None:
        seen[0] = 0
        for command in commands:
            reply_to = {"exchange": exchange.name, "routing_key": name}
            body = {"method": command, "arguments": {}, "ticket": command, "reply_to": reply_to}
            producer.publish(body, exchange=mailbox.exchange.name, declare=[mailbox.exchange])
        while seen[0] < size * len(commands):
            connection.drain_events(timeout=10)

    return ask
