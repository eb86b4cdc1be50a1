"""Totals on a list of servers, one of which is frozen or lost."""

from __future__ import annotations

import time

import pytest
from celery import Celery
from redis.exceptions import ConnectionError as RedisConnectionError

from celery_health_bp import Settings
from celery_health_bp.stores import RedisStore, followers, open_store
from celery_health_bp.stores.redis import FIELDS_AT_ONCE
from tests.support.processes import wait_until
from tests.support.servers import RedisServer


def test_a_frozen_first_server_delays_few_commands(
    redis_pair: list[RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the first server frozen, one command in ``RETRY_SECONDS`` waits for it; thawed, it is used again."""
    monkeypatch.setattr(followers, "RETRY_SECONDS", 2.0)
    first, second = redis_pair
    store = open_store(Celery(set_as_current=False), Settings(metrics_store=f"{first.url};{second.url}"))
    assert store is not None
    first_id = store.identity(create=True)
    first.freeze()
    second_id = store.identity(create=True)
    begin = time.monotonic()
    for _ in range(3):
        assert store.identity() == second_id != first_id
    assert time.monotonic() - begin < 1  # as long as one command would wait for the first
    first.thaw()
    wait_until(lambda: store.identity() == first_id, "the first one is used again", 10)
    store.close()


def test_totals_of_many_fields_come_from_one_server(redis_pair: list[RedisServer]) -> None:
    """A server that is lost while many fields are read makes an error; a read never mixes two servers."""
    first, second = redis_pair
    for server in redis_pair:
        fields = {f"started\0job{server.port}\0\0{number}": 1 for number in range(FIELDS_AT_ONCE + 1)}
        with server.client() as client:
            client.hset("{celery_health}:totals", mapping=fields)
            client.connection_pool.disconnect()
    store = open_store(Celery(set_as_current=False), Settings(metrics_store=f"{first.url};{second.url}"))
    assert isinstance(store, RedisStore)
    with store._server.one_server():
        store._client.hlen("{celery_health}:totals")
        first.stop()
        with pytest.raises(RedisConnectionError):
            store._client.hlen("{celery_health}:totals")
    assert {series.task_name for series in store.totals(60).counters} == {f"job{second.port}"}
    store.close()
