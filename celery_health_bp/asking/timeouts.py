"""Timeouts of kombu's transports: options for each of them, and a Redis transport without retries."""

from __future__ import annotations

import functools
from typing import Any

ONE_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}


def timeout_options(transport: type[Any], options: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
    """Return transport options that bound each connect, read and write.

    Arguments:
        transport: kombu's transport class.
        options: the app's ``broker_transport_options``.
        timeout_seconds: bound of one connect, read or write.
    """
    driver = transport.driver_type
    if driver == "redis":
        sockets = {"socket_timeout": timeout_seconds, "socket_connect_timeout": timeout_seconds}
        # With ack emulation, kombu may restore unacknowledged messages of other consumers.
        return {
            **ONE_RETRY,
            **sockets,
            "ack_emulation": False,
            "sentinel_kwargs": _sentinel_options(options, timeout_seconds),
        }
    if driver == "amqp":
        return {**ONE_RETRY, "read_timeout": timeout_seconds, "write_timeout": timeout_seconds}
    if driver == "sqs":  # by default, boto3 waits and retries for minutes
        waits = {"connect_timeout": timeout_seconds, "read_timeout": timeout_seconds}
        once = {"retries": {"total_max_attempts": 1}}
        return {"client-config": {**waits, **once, **(options.get("client-config") or {})}}
    if driver in ("memory", "filesystem"):  # by default, these poll once a second
        return {"polling_interval": 0.01, **options}
    return {}


def _sentinel_options(options: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
    """Return a third of the timeout for each sentinel: a dead one leaves time for the next, and for the master."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    short = timeout_seconds / 3
    short_limits = {"socket_timeout": short, "socket_connect_timeout": short, "retry": Retry(NoBackoff(), 0)}
    return {**(options.get("sentinel_kwargs") or {}), **short_limits}


@functools.cache
def without_retries(transport: type[Any]) -> type[Any]:
    """Return a subclass of kombu's Redis transport without redis-py's retries.

    It also closes without waiting, closes its connections to sentinels, and respects ``global_keyprefix``.
    """
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    class Channel(transport.Channel):  # type: ignore[misc, name-defined]
        def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
            return {**super()._connparams(asynchronous), "retry": Retry(NoBackoff(), 0)}

        def _has_queue(self, queue: str, **_: Any) -> bool:
            # kombu (5.2 to 5.7) sends EXISTS without global_keyprefix: a passive declare would find no queue.
            # The queue length that follows is correct without it: 0 if the key does not exist.
            return True

        def close(self) -> None:
            self._in_poll = None  # else kombu waits here for the reply to a pending BRPOP
            super().close()

        def _disconnect_pools(self) -> None:
            pools = self._pool, self._async_pool
            super()._disconnect_pools()
            for pool in pools:  # kombu leaves the connections to sentinels to the garbage collector
                for sentinel in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()):
                    sentinel.connection_pool.disconnect()

    return type("Transport", (transport,), {"Channel": Channel})
