"""A Redis that refuses a batch halfway: nothing of it is added, or all of it, and never twice."""

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
    """The store of a user of its own."""
    admin.execute_command("ACL", "SETUSER", "counter", "on", ">s3cret", "~*", "+@all")
    url = redis.url.replace("//", "//counter:s3cret@")
    opened = RedisStore.from_url(url, Celery("upstream", broker=url), Settings(max_customers=2))
    yield opened
    opened.close()


def batch() -> Counts:
    """Counts of every kind: of known and of too many customers, of a histogram, and an error of our own."""
    counts = Counts(internal_errors=1)
    for number, customer in enumerate(["a", "b", "c", "d", "unknown"], 1):
        counts.counters[Series("started", "job", "", customer)] = number
    histogram = counts.histograms["duration", "job"] = Histogram()
    for seconds in (0.1, 0.2, 30.0):
        histogram.observe(seconds, [0.1, 1.0])
    return counts


def added() -> Counts:
    """What a batch makes of empty totals with room for two customers."""
    counts = batch()
    for customer in "cd":
        number = counts.counters.pop(Series("started", "job", "", customer))
        counts.counters[Series("started", "job", "", "other")] += number
    return counts


#: Those of the script, and one that it needed once.
COMMANDS = ["get", "set", "hlen", "hmget", "hset", "hincrbyfloat"]


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_command_a_batch_waits_and_is_added_once(store: RedisStore, admin: Redis, command: str) -> None:
    """A batch of a user who lacks one command is refused whole, and is right when it is sent again."""
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


def documented(who: str) -> list[str]:
    """The commands that the runbook names for workers or web processes."""
    page = (ROOT / "docs/alerts/CeleryStoreFailing.md").read_text()
    (found,) = re.findall(rf"{who}(?: need)? ((?:`[A-Z]+`(?:,|\s+and)?\s+)*`[A-Z]+`)", page)
    return re.findall("[A-Z]+", found)


def test_the_documented_commands_are_enough(redis: RedisServer, admin: Redis) -> None:
    """Users with the commands and keys of the runbook alone can add, be identified, and read few and many totals."""
    stores = {}
    for who in ("Workers", "web processes"):
        user = who.partition(" ")[0]
        rights = [f"+{command}" for command in documented(who)]
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


#: What somebody has written -> the key that is at fault, and how it came there.
SPOILED: dict[str, tuple[str, Callable[[Redis], Any]]] = {
    "totals of another type": ("totals", lambda admin: admin.set("{celery_health}:totals", "x")),
    "customers of another type": ("customers", lambda admin: admin.lpush("{celery_health}:customers", "x")),
    "a sequence of another type": ("writer:writer", lambda admin: admin.sadd("{celery_health}:writer:writer", "x")),
    "a sequence that is no number": ("writer:writer", lambda admin: admin.set("{celery_health}:writer:writer", "x")),
    "a total that is no number": (
        "totals",
        lambda admin: admin.hset("{celery_health}:totals", "started\0job\0\0unknown", "many"),
    ),
    "a sum that is not a number": (
        "totals",
        lambda admin: admin.hset("{celery_health}:totals", "duration\0job\0sum\0", "nan"),
    ),
    "a total beyond all counting": (
        "totals",
        lambda admin: admin.hset("{celery_health}:totals", "started\0job\0\0unknown", "9" * 30),
    ),
    "customers that are no number": ("customers", lambda admin: admin.hset("{celery_health}:customers", "job", "x")),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_key_of_somebody_else_is_named_and_nothing_is_half_added(store: RedisStore, admin: Redis, case: str) -> None:
    """The error names the key; once that is deleted, the batch sent again is added whole."""
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
