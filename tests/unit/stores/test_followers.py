"""The client of a Redis Cluster, without a server."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from celery_health_bp.stores.address import Host
from celery_health_bp.stores.followers import SlotOwner
from tests.support.servers import free_port


class DroppedMeanwhile(dict[Host, Any]):
    """Clients by node; each is removed, as by another thread, as soon as its key was read."""

    def keys(self) -> Any:
        """Return the keys, and remove them."""
        seen = set(super().keys())
        self.clear()
        return seen


def test_two_threads_may_drop_the_same_node() -> None:
    """A thread that finds a client already dropped by another one raises nothing."""
    owner = SlotOwner([("127.0.0.1", free_port())], retry=Retry(NoBackoff(), 0))
    owner._clients = DroppedMeanwhile({("gone", 1): Redis()})
    owner._remember(("127.0.0.1", free_port()))
