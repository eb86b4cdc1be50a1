"""Workers and the web process that reads their job totals: is it the same store?"""

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
    """A worker that says this of its store."""
    said = {"kind": "redis", "place": "redis://elsewhere:6379/0", "keys": "{celery_health}", **store}
    return ScriptedNode(app, "a@t", {**REPLIES, "stats": {**REPLIES["stats"], "celery_health": {"store": said}}})


def test_two_servers_of_one_name_are_two(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """Each host with a Redis of its own at localhost: the id tells, and the sentence says what to look at."""
    place = redis.url.removesuffix("/0") + "/0"
    with node(celery_app, place=place, id="another"):
        (sentence,) = store_notes(make_app(celery_app, cache_seconds=0))
    expected = f"go to {place} (keys {{celery_health}}), but this process reads another server of the same name"
    assert expected in sentence


@pytest.mark.parametrize("store", ["redis", {"id": None}, {"id": ["junk"]}])
def test_nothing_is_said_of_a_store_that_is_not_known(
    celery_app: Celery, make_app: Callable[..., Flask], store: Any
) -> None:
    """A worker of an older version, or one that could not read its store's id, is not accused."""
    replies = {**REPLIES, "stats": {"celery_health": {"store": store}}}
    own = node(celery_app, **store) if isinstance(store, dict) else ScriptedNode(celery_app, "a@t", replies)
    with own:
        assert store_notes(make_app(celery_app)) == []


@pytest.mark.deadline
def test_a_store_that_does_not_answer_holds_no_check(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], tmp_path: Any
) -> None:
    """The id is in a frozen Redis: a check with half a second to its deadline is healthy all the same."""
    totals = RedisServer(tmp_path)
    try:
        web = make_app(celery_app, metrics_store=totals.url, timeout_seconds=0.5, cache_seconds=0)
        assert totals.process is not None
        totals.process.send_signal(signal.SIGSTOP)
        with node(celery_app, id="another"):
            assert [store_notes(web) for _ in range(2)] == [[], []]
    finally:
        totals.stop()
