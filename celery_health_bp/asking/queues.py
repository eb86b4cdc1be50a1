"""Reads queue lengths with a passive declare, which works on every kombu transport.

On Redis it adds up the lists of all priorities, unlike a plain ``LLEN``. (``timeouts.py`` makes it respect
``global_keyprefix``.) The length excludes prefetched messages: it is a lower bound.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from typing import Any

from kombu import Connection

logger: logging.Logger = logging.getLogger(__name__)

#: The length of a queue that could not be read.
NOT_KNOWN = -1


def declared_queues(app: Any) -> set[str]:
    """Return the names of the queues that the app declares (``task_queues``, or the default queue)."""
    return {str(name) for name in app.amqp.queues}


def read_lengths(connection: Connection, names: Iterable[str], deadline: float = math.inf) -> dict[str, int]:
    """Return the number of messages waiting in each queue.

    The length is ``NOT_KNOWN`` for a queue that does not exist on an AMQP broker, and for the queues that
    were not read before the deadline.

    Arguments:
        connection: to the broker.
        names: names of the queues.
        deadline: of ``time.monotonic``.

    Raises:
        Exception: of the transport, when the connection is lost.
    """
    return {
        name: _read_length(connection, name) if time.monotonic() < deadline else NOT_KNOWN for name in sorted(names)
    }


def _read_length(connection: Connection, name: str) -> int:
    virtual = connection.transport.driver_type != "amqp"
    # An AMQP broker closes the channel when it answers 404: open one per queue.
    channel = connection.default_channel if virtual else connection.channel()
    try:
        return int(channel.queue_declare(queue=name, passive=True).message_count)
    except connection.channel_errors as exc:
        if virtual and str(getattr(exc, "reply_code", "")) == "404":
            return 0  # in memory://, a queue does not exist before its first use
        logger.debug("the length of queue %s cannot be read", name, exc_info=True)
        return NOT_KNOWN
    finally:
        if not virtual and channel.is_open:
            channel.close()
