"""A Redis that refuses a command of a batch: the batch is added whole or not at all, and never twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from celery_health_bp import Settings
from celery_health_bp.counts import Counts, Histogram, Series
from celery_health_bp.errors import StoreUnavailable
from celery_health_bp.stores import RedisStore
from celery_health_bp.stores.redis import FIELDS_AT_ONCE
from tests.support.processes import ROOT
from tests.support.servers import RedisServer


@pytest.fixture
def store(redis: RedisServer, admin: Redis) -> Iterator[RedisStore]:
    """A store that connects as the Redis user ``counter``."""
    admin.execute_command("ACL", "SETUSER", "counter", "on", ">s3cret", "~*", "+@all")
    url = redis.url.replace("//", "//counter:s3cret@")
    opened = RedisStore.from_url(url, Celery("upstream", broker=url), Settings(max_customers=2))
    yield opened
    opened.close()


def batch() -> Counts:
    """Return counts of every kind: customers below and above the cap, a histogram, an internal error."""
    counts = Counts(internal_errors=1)
    for number, customer in enumerate(["a", "b", "c", "d", "unknown"], 1):
        counts.counters[Series("started", "job", "", customer)] = number
    histogram = counts.histograms["duration", "job"] = Histogram()
    for seconds in (0.1, 0.2, 30.0):
        histogram.observe(seconds, [0.1, 1.0])
    return counts


def added() -> Counts:
    """Return the totals after one batch, with a cap of two customers."""
    counts = batch()
    for customer in "cd":
        number = counts.counters.pop(Series("started", "job", "", customer))
        counts.counters[Series("started", "job", "", "other")] += number
    return counts


#: The commands of the script, and one that an earlier version used.
COMMANDS = ["get", "set", "hlen", "hmget", "hset", "hincrbyfloat"]


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_command_a_batch_is_refused_whole(store: RedisStore, admin: Redis, command: str) -> None:
    """A batch of a user who lacks one command adds nothing, and is added once when it is sent again."""
    admin.execute_command("ACL", "SETUSER", "counter", f"-{command}")
    with suppress(StoreUnavailable) if command == "hincrbyfloat" else pytest.raises(StoreUnavailable) as caught:
        store.add("writer", 2, batch())
    if caught is not None:
        assert (caught.value.cause, caught.value.refused) == ("NoPermissionError", True)
        assert not admin.exists("{celery_health}:totals")
    admin.execute_command("ACL", "SETUSER", "counter", "+@all")
    for _ in range(2):
        store.add("writer", 2, batch())
    assert store.totals() == added()


def documented(processes: str) -> list[str]:
    """Return the commands that the runbook names for ``Workers`` or ``web processes``."""
    page = (ROOT / "docs/alerts/CeleryStoreFailing.md").read_text()
    (found,) = re.findall(rf"{processes}(?: need)? ((?:`[A-Z]+`(?:,|\s+and)?\s+)*`[A-Z]+`)", page)
    return re.findall("[A-Z]+", found)


def test_the_documented_commands_are_enough(redis: RedisServer, admin: Redis) -> None:
    """Users with only the commands and keys of the runbook can add counts, and read the id, few and many totals."""
    stores = {}
    for processes in ("Workers", "web processes"):
        user = processes.partition(" ")[0]
        rights = [f"+{command}" for command in documented(processes)]
        admin.execute_command("ACL", "SETUSER", user, "on", ">s3cret", "~{celery_health}:*", "+select", *rights)
        url = redis.url.replace("//", f"//{user}:s3cret@")
        stores[user] = RedisStore.from_url(url, Celery(broker=url), Settings(max_customers=2))
    writer, reader = stores.values()
    for sequence in (1, 2):
        writer.add("writer", sequence, batch())
    assert writer.identity(create=True) == reader.identity()
    assert reader.totals().internal_errors == 2
    admin.hset("{celery_health}:totals", mapping={f"started\0job\0\0{n}": 1 for n in range(FIELDS_AT_ONCE)})
    assert len(reader.totals(60)) > FIELDS_AT_ONCE
    for store in stores.values():
        store.close()


#: A foreign value -> the key that holds it, and how to write it.
SPOILED: dict[str, tuple[str, Callable[[Redis], Any]]] = {
    "totals of another type": ("totals", lambda admin: admin.set("{celery_health}:totals", "x")),
    "customers of another type": ("customers", lambda admin: admin.lpush("{celery_health}:customers", "x")),
    "a sequence of another type": ("writer:writer", lambda admin: admin.sadd("{celery_health}:writer:writer", "x")),
    "a sequence that is not a number": ("writer:writer", lambda admin: admin.set("{celery_health}:writer:writer", "x")),
    "a total that is not a number": (
        "totals",
        lambda admin: admin.hset("{celery_health}:totals", "started\0job\0\0unknown", "many"),
    ),
    "a sum that is NaN": (
        "totals",
        lambda admin: admin.hset("{celery_health}:totals", "duration\0job\0sum\0", "nan"),
    ),
    "a total that is too large": (
        "totals",
        lambda admin: admin.hset("{celery_health}:totals", "started\0job\0\0unknown", "9" * 30),
    ),
    "customers that are not a number": ("customers", lambda admin: admin.hset("{celery_health}:customers", "job", "x")),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_foreign_value_is_named_and_no_part_of_a_batch_is_added(store: RedisStore, admin: Redis, case: str) -> None:
    """The error names the key and the totals stay; once the key is deleted, the batch is added whole."""
    key, spoil = SPOILED[case]
    spoil(admin)
    before = admin.dump("{celery_health}:totals")
    with pytest.raises(StoreUnavailable, match=rf"\{{celery_health\}}:{key} holds something") as caught:
        store.add("writer", 1, batch())
    assert caught.value.refused
    assert admin.dump("{celery_health}:totals") == before
    admin.delete("{celery_health}:" + key)
    store.add("writer", 1, batch())
    assert store.totals() == added()
