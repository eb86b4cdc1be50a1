"""Temporary errors of Redis are distinguished from permanent refusals."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from celery import Celery
from redis import Redis
from redis.exceptions import ResponseError

from celery_health_bp import Settings
from celery_health_bp.counts import Counts
from celery_health_bp.errors import StoreUnavailable
from celery_health_bp.stores import RedisStore
from tests.support.servers import RedisServer, free_port


@pytest.fixture
def store(redis: RedisServer) -> Iterator[RedisStore]:
    """The store on the test's Redis."""
    opened = RedisStore.from_url(redis.url, Celery(broker=redis.url, set_as_current=False), Settings())
    yield opened
    opened.close()


def test_a_master_without_its_replicas_is_a_temporary_error(store: RedisStore, admin: Redis) -> None:
    """With ``min-replicas-to-write 1`` and no replica adding fails for now, with the error code of Redis."""
    admin.config_set("min-replicas-to-write", 1)
    with pytest.raises(StoreUnavailable, match=r"cannot be used \(NOREPLICAS\)") as caught:
        store.add("writer", 1, Counts(internal_errors=1))
    assert (caught.value.cause, caught.value.refused) == ("NOREPLICAS", False)
    admin.config_set("min-replicas-to-write", 0)
    store.add("writer", 1, Counts(internal_errors=1))
    assert store.totals().internal_errors == 1


@pytest.mark.parametrize(
    "text",
    [
        "MISCONF Redis is configured to save RDB snapshots",
        "BUSY Redis is busy running a script",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "ASK 1 127.0.0.1:7001",
        "CLUSTERDOWN The cluster is down",
        "LOADING Redis is loading the dataset in memory",
        "@user_script: 12: -NOREPLICAS Not enough good replicas to write.",
    ],
)
def test_the_error_code_of_redis_marks_temporary_errors(store: RedisStore, text: str) -> None:
    """An error without a class in redis-py is known by its code, even after the position in a script."""
    (word,) = re.findall("^[A-Z]+|NOREPLICAS", text)
    with pytest.raises(StoreUnavailable) as caught, store._errors_translated():
        raise ResponseError(text)
    assert (caught.value.cause, caught.value.refused) == (word, False)


def test_the_eviction_policy_is_read_again_after_an_error(store: RedisStore, admin: Redis) -> None:
    """After an error that is no missing permission the eviction policy is read again."""
    admin.config_set("maxmemory", "1gb")
    admin.config_set("maxmemory-policy", "allkeys-lru")
    admin.config_set("requirepass", "s3cret")
    assert store.dangers() == ()
    admin.config_set("requirepass", "")
    assert len(store.dangers()) == 1


def test_the_first_write_shows_that_a_store_is_not_writable(store: RedisStore, admin: Redis) -> None:
    """A batch with the sequence 0 adds nothing, and fails for a user without SET and on a read-only replica."""
    store.add("writer", 0, Counts())
    store.add("writer", 1, Counts(internal_errors=1))
    store.add("writer", 0, Counts())
    assert admin.get("{celery_health}:writer:writer") == b"1"
    admin.execute_command("ACL", "SETUSER", "default", "-set")
    with pytest.raises(StoreUnavailable) as caught:
        store.add("writer", 0, Counts())
    assert (caught.value.cause, caught.value.refused) == ("NoPermissionError", True)
    admin.execute_command("ACL", "SETUSER", "default", "+set")
    admin.execute_command("REPLICAOF", "127.0.0.1", free_port())
    with pytest.raises(StoreUnavailable) as caught:
        store.add("writer", 0, Counts())
    assert not caught.value.refused
