"""A process that has checked leaves no keys on the broker."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.processes import Worker
from tests.support.scripts import ONE_CHECK, run_code
from tests.support.servers import RedisServer


def test_a_normal_exit_leaves_no_keys(redis: RedisServer, start_worker: Callable[..., Worker]) -> None:
    """A process that has checked and exits leaves no key on Redis."""
    start_worker(redis.url, pool="solo")
    before = set(redis.client().keys())
    assert run_code(ONE_CHECK, redis.url) == ["healthy"]
    assert set(redis.client().keys()) <= before
