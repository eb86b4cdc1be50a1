"""Nothing stays on the broker: not after a normal end, not after a hundred killed checks."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.processes import Worker
from tests.support.scripts import ONE_CHECK, run_code
from tests.support.servers import RedisServer


def test_a_normal_end_leaves_nothing(redis: RedisServer, start_worker: Callable[..., Worker]) -> None:
    """A process that asked and ends leaves no key of its own, and ends at once."""
    start_worker(redis.url, pool="solo")
    before = set(redis.client().keys())
    assert run_code(ONE_CHECK, redis.url) == ["healthy"]
    assert set(redis.client().keys()) <= before
