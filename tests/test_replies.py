"""Replies of whatever sends them: what cannot be read costs neither a check nor a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from flask import Flask
from kombu import Producer
from kombu.pidbox import Node

from celery_health_bp.replies import MAX_NOTES, MAX_TEXT, facts_of
from celery_health_bp.report import Sending

from .exposition import Exposition
from .nodes import REPLIES, ScriptedNode
from .probes import probe
from .servers import RedisServer

UNREADABLE: dict[str, tuple[Any, dict[str, Any]]] = {
    "no mapping": (["pong"], {}),
    "unknown type": (b"\x00", {"content_type": "application/x-unknown", "content_encoding": "binary"}),
    "broken JSON": (b"{", {"content_type": "application/json", "content_encoding": "utf-8"}),
    "an error": ({"b@t": {"error": "no such method"}}, {}),
}


@pytest.mark.parametrize(("body", "properties"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_reply_that_cannot_be_read_is_left_out(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], body: Any, properties: dict[str, Any]
) -> None:
    """Between the replies of a worker something else comes: the worker is there, and nobody besides."""
    app = make_app(celery_app, cache_seconds=0)
    with ScriptedNode(celery_app, "a@t"), redis.client() as client:
        assert probe(app).status == 200
        (member,) = client.smembers("_kombu.binding.reply.celery.pidbox")
        with celery_app.connection_for_write() as connection:
            name = member.decode().split("\x06\x16")[-1]
            Producer(connection.default_channel).publish(body, exchange="", routing_key=name, **properties)
        found = probe(app)
    assert (found.status, found.workers) == (200, ["a@t"])


@pytest.mark.parametrize("stats", [None, [], {"pool": []}, {"pool": {"processes": 1, "max-concurrency": "many"}}])
def test_a_worker_that_says_nonsense_is_shown_without_it(
    celery_app: Celery, make_app: Callable[..., Flask], stats: Any
) -> None:
    """What a reply does not say, or says wrongly, is null in the details; the worker counts."""
    replies = {**REPLIES, "stats": stats, "active": "none", "scheduled": None, "reserved": {}}
    with ScriptedNode(celery_app, "a@t", replies):
        found = probe(make_app(celery_app))
    (worker,) = found.body["details"]["workers"]
    assert (found.status, found.workers) == (200, ["a@t"])
    assert [worker[key] for key in ("pool", "concurrency", "active", "reserved")] == [None] * 4
    assert worker["processes"] == []


@pytest.mark.parametrize("store", [None, "redis", [], {}, {"kind": "redis"}, {"kind": [], "place": {}, "keys": 1}])
def test_a_store_that_a_reply_tells_wrongly_is_not_known(store: Any) -> None:
    """Version 0.1 said the store's kind alone; that, and nonsense, costs neither the worker nor anything else."""
    facts = facts_of("a@t", "stats", {"celery_health": {"store": store}})
    assert (facts["monitored"], facts["store"]) == (True, None)


def test_a_text_in_a_reply_is_bounded() -> None:
    """A megabyte of key prefix is not kept."""
    store = {"kind": "redis", "place": "redis://h:1/0", "keys": "x" * 1_000_000}
    facts = facts_of("a@t", "stats", {"celery_health": {"store": store}})
    assert len(facts["store"].keys) == MAX_TEXT


ODD_SENDING: dict[str, Any] = {
    "failing_since": ["yesterday", True, float("nan"), float("inf"), -1, 10**400, None],
    "error": [7, "two words", "x" * 65, None],
    "unsent": ["many", 1.5, True, None],
    "notes": ["text", [7], {}, None],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in ODD_SENDING.items() for value in values])
def test_what_a_reply_says_wrongly_of_its_sending_is_left_out(key: str, value: Any) -> None:
    """A nonsense in one place is as if it had not been said."""
    store = {"kind": "redis", "place": "redis://h:1/0", "keys": "{x}", key: value}
    assert facts_of("a@t", "stats", {"celery_health": {"store": store}})["sending"] == Sending()


def test_notes_of_a_reply_are_bounded() -> None:
    """A worker can have a few sentences in our answers, not many."""
    store = {"kind": "redis", "place": "redis://h:1/0", "keys": "{x}", "notes": ["x" * 1000] * 1000}
    notes = facts_of("a@t", "stats", {"celery_health": {"store": store}})["sending"].notes
    assert (len(notes), len(notes[0])) == (MAX_NOTES, MAX_TEXT)


def test_a_reply_to_what_nobody_asked_is_left_out(
    celery_app: Celery, make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that answers each command a second time, as if it had been another one, is shown as it is."""
    reply = Node.reply

    def reply_twice(self: Node, data: Any, exchange: Any, routing_key: Any, ticket: str, **options: Any) -> None:
        for command in (ticket.partition(".")[2], "name"):
            reply(self, data, exchange, routing_key, f"{ticket.partition('.')[0]}.{command}", **options)

    monkeypatch.setattr(Node, "reply", reply_twice)
    with ScriptedNode(celery_app, "a@t"):
        found = probe(make_app(celery_app))
    assert (found.status, found.workers) == (200, ["a@t"])


@pytest.mark.parametrize("counts", [None, {}, {"internal_errors": []}, "none", {"error": "no"}])
def test_counts_that_cannot_be_read_are_left_out(
    celery_app: Celery, make_app: Callable[..., Flask], counts: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a store, a worker whose counts are of no version that we know costs the scrape nothing but a log line."""
    replies = {**REPLIES, "stats": {"celery_health": {}}, "celery_health_counts": counts}
    with ScriptedNode(celery_app, "a@t", replies):
        answer = make_app(celery_app, metrics_store="control").test_client().get("/metrics")
    found = Exposition(answer.text)
    assert (answer.status_code, found.get("celery_worker_up", hostname="a@t")) == (200, 1)
    assert list(found.series("upstream_background_job_started_total")) == []
    assert "the counts of a@t cannot be read" in caplog.text
