"""A check notes workers that fill another store than the one this process reads."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from flask import Flask

from tests.support.nodes import REPLIES, ScriptedNode
from tests.support.probes import store_notes
from tests.support.servers import RedisServer


def node(app: Celery, **store: Any) -> ScriptedNode:
    """Return a worker whose reply describes its store with these keys."""
    facts = {"kind": "redis", "place": "redis://elsewhere:6379/0", "keys": "{celery_health}", **store}
    return ScriptedNode(app, "a@t", {**REPLIES, "stats": {**REPLIES["stats"], "celery_health": {"store": facts}}})


def test_two_servers_with_one_address_are_told_apart(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """Where each host has its own Redis at localhost, the ids differ, and the note names the common address."""
    place = redis.url.removesuffix("/0") + "/0"
    with node(celery_app, place=place, id="another"):
        (sentence,) = store_notes(make_app(celery_app, cache_seconds=0))
    expected = f"go to {place} (keys {{celery_health}}), but this process reads another server of the same name"
    assert expected in sentence


@pytest.mark.parametrize("store", ["redis", {"id": None}, {"id": ["junk"]}])
def test_an_unknown_store_makes_no_note(celery_app: Celery, make_app: Callable[..., Flask], store: Any) -> None:
    """A worker of an older version, or one that could not read the id of its store, makes no note."""
    replies = {**REPLIES, "stats": {"celery_health": {"store": store}}}
    own = node(celery_app, **store) if isinstance(store, dict) else ScriptedNode(celery_app, "a@t", replies)
    with own:
        assert store_notes(make_app(celery_app)) == []


@pytest.mark.deadline
def test_a_frozen_store_does_not_delay_a_check(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], tmp_path: Any
) -> None:
    """With a timeout of 0.5 s a check is healthy while the Redis that holds the id is frozen."""
    totals = RedisServer(tmp_path)
    try:
        web = make_app(celery_app, metrics_store=totals.url, timeout_seconds=0.5, cache_seconds=0)
        assert totals.process is not None
        totals.process.send_signal(signal.SIGSTOP)
        with node(celery_app, id="another"):
            assert [store_notes(web) for _ in range(2)] == [[], []]
    finally:
        totals.stop()
