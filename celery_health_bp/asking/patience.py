"""How long kombu's transports wait: options for each of them, and a Redis transport without retries."""

from __future__ import annotations

import functools
from typing import Any

ONE_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}


def limits(transport: type[Any], options: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
    """Options of a transport that bound each connect, read and write.

    Arguments:
        options: those that the app has.
    """
    driver = transport.driver_type
    if driver == "redis":
        sockets = {"socket_timeout": timeout_seconds, "socket_connect_timeout": timeout_seconds}
        # Without its emulation of acks, kombu leaves the messages of others alone.
        return {
            **ONE_RETRY,
            **sockets,
            "ack_emulation": False,
            "sentinel_kwargs": _sentinels(options, timeout_seconds),
        }
    if driver == "amqp":
        return {**ONE_RETRY, "read_timeout": timeout_seconds, "write_timeout": timeout_seconds}
    if driver == "sqs":  # boto3 would wait and retry for minutes
        waits = {"connect_timeout": timeout_seconds, "read_timeout": timeout_seconds}
        once = {"retries": {"total_max_attempts": 1}}
        return {"client-config": {**waits, **once, **(options.get("client-config") or {})}}
    if driver in ("memory", "filesystem"):  # these poll, once a second unless told otherwise
        return {"polling_interval": 0.01, **options}
    return {}


def _sentinels(options: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
    """How each sentinel is asked: one that is dead or frozen leaves time for the next one, and for the master."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    short = timeout_seconds / 3
    short_limits = {"socket_timeout": short, "socket_connect_timeout": short, "retry": Retry(NoBackoff(), 0)}
    return {**(options.get("sentinel_kwargs") or {}), **short_limits}


@functools.cache
def impatient(transport: type[Any]) -> type[Any]:
    """kombu's Redis transport without redis-py's retries, without waiting when it closes, and right under a prefix."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    class Channel(transport.Channel):  # type: ignore[misc, name-defined]
        def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
            return {**super()._connparams(asynchronous), "retry": Retry(NoBackoff(), 0)}

        def _has_queue(self, queue: str, **_: Any) -> bool:
            # kombu (5.2 to 5.7) asks with EXISTS, and forgets global_keyprefix there: a passive declare
            # would find no queue. The length that follows is right, 0 without a key, and needs no EXISTS.
            return True

        def close(self) -> None:
            self._in_poll = None  # a BRPOP under way: nobody wants its answer any more
            super().close()

        def _disconnect_pools(self) -> None:
            pools = self._pool, self._async_pool
            super()._disconnect_pools()
            for pool in pools:  # kombu leaves the connections to sentinels to the collector
                for sentinel in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()):
                    sentinel.connection_pool.disconnect()

    return type("Transport", (transport,), {"Channel": Channel})
