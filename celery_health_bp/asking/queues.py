"""The length of a queue, by passive declare: right on every kombu transport.

On Redis it sums the lists of all priorities, which a plain ``LLEN`` misses
(and ``patience.py`` sees that ``global_keyprefix`` is minded).
The length leaves out what workers have prefetched: it is a lower bound.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from typing import Any

from kombu import Connection

logger: logging.Logger = logging.getLogger(__name__)

#: What ``queues`` shows for a length that could not be read.
NOT_KNOWN = -1


def declared_queues(app: Any) -> set[str]:
    """Names of the queues that the app declares (``task_queues``, or the default queue)."""
    return {str(name) for name in app.amqp.queues}


def read_lengths(connection: Connection, names: Iterable[str], deadline: float = math.inf) -> dict[str, int]:
    """Messages waiting in each queue.

    ``NOT_KNOWN`` for one that does not exist on AMQP, and for those whose turn
    would come after the deadline (of ``time.monotonic``).

    Raises:
        Exception: the transport's own, when the connection is lost.
    """
    return {
        name: _read_length(connection, name) if time.monotonic() < deadline else NOT_KNOWN for name in sorted(names)
    }


def _read_length(connection: Connection, name: str) -> int:
    virtual = connection.transport.driver_type != "amqp"
    # An AMQP broker closes the channel with its 404: a fresh one for each queue.
    channel = connection.default_channel if virtual else connection.channel()
    try:
        return int(channel.queue_declare(queue=name, passive=True).message_count)
    except connection.channel_errors as exc:
        if virtual and str(getattr(exc, "reply_code", "")) == "404":
            return 0  # in memory, a queue that nobody has used yet is none
        logger.debug("the length of queue %s cannot be read", name, exc_info=True)
        return NOT_KNOWN
    finally:
        if not virtual and channel.is_open:
            channel.close()
