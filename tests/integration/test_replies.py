"""Replies with any content: an unreadable one fails no check and hides no worker."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from flask import Flask
from kombu import Producer
from kombu.pidbox import Node

from tests.support.exposition import Exposition
from tests.support.flask_command import run
from tests.support.nodes import REPLIES, ScriptedNode
from tests.support.probes import probe
from tests.support.processes import wait_until
from tests.support.servers import RedisServer

UNREADABLE: dict[str, tuple[Any, dict[str, Any]]] = {
    "not a mapping": (["pong"], {}),
    "unknown type": (b"\x00", {"content_type": "application/x-unknown", "content_encoding": "binary"}),
    "broken JSON": (b"{", {"content_type": "application/json", "content_encoding": "utf-8"}),
    "an error": ({"b@t": {"error": "no such method"}}, {}),
}


@pytest.mark.parametrize(("body", "properties"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_reply_that_cannot_be_read_is_left_out(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], body: Any, properties: dict[str, Any]
) -> None:
    """An unreadable message on the reply queue is ignored, and the worker is the only one listed."""
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
def test_an_invalid_reply_is_null_in_the_details(
    celery_app: Celery, make_app: Callable[..., Flask], stats: Any
) -> None:
    """A worker with missing or invalid facts is active, and these are null in the details."""
    replies = {**REPLIES, "stats": stats, "active": "none", "scheduled": None, "reserved": {}}
    with ScriptedNode(celery_app, "a@t", replies):
        found = probe(make_app(celery_app))
    (worker,) = found.body["details"]["workers"]
    assert (found.status, found.workers) == (200, ["a@t"])
    assert [worker[key] for key in ("pool", "concurrency", "active", "reserved")] == [None] * 4
    assert worker["processes"] == []


def test_a_reply_to_an_unknown_command_is_left_out(
    celery_app: Celery, make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that replies a second time to each command, with another ticket, is listed once."""
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
    """With the control store, counts of an unknown version leave the scrape at 200, and are named in the log."""
    replies = {**REPLIES, "stats": {"celery_health": {}}, "celery_health_counts": counts}
    with ScriptedNode(celery_app, "a@t", replies):
        answer = make_app(celery_app, metrics_store="control").test_client().get("/metrics")
    found = Exposition(answer.text)
    assert (answer.status_code, found.get("celery_worker_up", hostname="a@t")) == (200, 1)
    assert list(found.series("upstream_background_job_started_total")) == []
    assert "the counts of a@t cannot be read" in caplog.text


#: Values that are not allowed where a number is expected.
NO_NUMBERS = [math.nan, math.inf, -math.inf, -1, 10**400, True, "1", [1]]


@pytest.mark.parametrize("number", NO_NUMBERS, ids=lambda number: repr(number)[:8])
def test_an_invalid_number_is_null_in_every_response(
    celery_app: Celery, make_app: Callable[..., Flask], number: Any
) -> None:
    """With an invalid number in a reply, details, tasks and metrics are 200 and valid, and have no value for it."""
    stats = {"uptime": number, "pool": {"max-concurrency": number, "processes": [number, 7]}}
    running = {"id": "1", "type": "a", "time_start": number}
    client = make_app(celery_app, cache_seconds=60).test_client()
    with ScriptedNode(celery_app, "a@t", {**REPLIES, "stats": stats, "active": [running], "reserved": number}):
        answers = [client.get(f"/api/celery/{path}") for path in ("health/?verbose=1", "tasks/", "stats/")]
        metrics = client.get("/metrics")
    assert [answer.status_code for answer in (*answers, metrics)] == [200] * 4
    health, tasks, _ = (json.loads(answer.text, parse_constant=pytest.fail) for answer in answers)
    (worker,) = health["details"]["workers"]
    found = worker["uptime_seconds"], worker["concurrency"], tasks["running"][0]["time_start"]
    assert (*found, worker["processes"]) == (None, None, None, [7])
    assert list(Exposition(metrics.text).series("celery_worker_pool_size")) == []


HOSTILE = "a\x1b[2J\r\n\u202e\ud800@t"


def test_names_cannot_control_the_terminal(redis: RedisServer, celery_app: Celery) -> None:
    """With ESC, line ends, bidi marks and lone surrogates in a node's name, ``--nagios`` prints one printable line."""
    with ScriptedNode(celery_app, "a@t", {**REPLIES, "active_queues": []}, reply_name=HOSTILE):
        nagios, verbose = run(redis.url, "--nagios"), run(redis.url, "--verbose")
    assert "answering without one: a?[2J????@t" in nagios.stdout
    assert nagios.stdout.count("\n") == 1
    assert all(line.isprintable() for line in (nagios.stdout + verbose.stdout).splitlines())


def test_names_in_a_scrape_are_escaped_and_cut(celery_app: Celery, make_app: Callable[..., Flask]) -> None:
    """A scrape with a lone surrogate in a name is 200, and a name of 1 MB is cut to 256 characters."""
    with (
        ScriptedNode(celery_app, "a@t", reply_name=HOSTILE),
        ScriptedNode(celery_app, "b@t", {**REPLIES, "active_queues": [{"name": "q" * 10**6}]}, reply_name="b" * 10**6),
    ):
        answer = make_app(celery_app, queues=["celery"]).test_client().get("/metrics")
    assert answer.status_code == 200
    up = {labels["hostname"] for labels, _ in Exposition(answer.text).series("celery_worker_up")}
    assert up == {"a?[2J????@t", "b" * 256}


def test_a_reply_that_is_too_long_is_not_decoded(celery_app: Celery, make_app: Callable[..., Flask]) -> None:
    """A worker whose reply has 9 MB is active; a note gives the reason for its missing facts, and tasks/ is 503."""
    with ScriptedNode(celery_app, "a@t", {**REPLIES, "active": [{"id": "1", "type": "a" * 9_000_000}]}):
        app = make_app(celery_app, cache_seconds=0, timeout_seconds=10)
        wait_until(lambda: "a@t: a reply was too long to be read" in probe(app).notes, "the long reply has come")
        found = probe(app)
        refusals = [app.test_client().get(f"/api/celery/{path}/") for path in ("tasks", "stats")]
    assert [(each.status_code, each.json["error"]["code"]) for each in refusals] == [(503, "reply_too_long")] * 2
    (worker,) = found.body["details"]["workers"]
    assert (found.status, found.workers, worker["active"], worker["reserved"]) == (200, ["a@t"], None, 0)
