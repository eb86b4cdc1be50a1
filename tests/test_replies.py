"""Replies of whatever sends them: what cannot be read costs neither a check nor a worker."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from kombu import Producer
from kombu.pidbox import Node

from celery_health_bp import Settings
from celery_health_bp.asking.fleet import Answers
from celery_health_bp.asking.observation import observation_of
from celery_health_bp.asking.replies import MAX_NOTES, MAX_TEXT, facts_of
from celery_health_bp.cli.render import headline, lines, nagios_line
from celery_health_bp.report import Sending, judge
from celery_health_bp.schemas import health_body, stats_body, tasks_body

from .exposition import Exposition
from .nodes import REPLIES, ScriptedNode
from .probes import probe
from .processes import wait_until
from .servers import RedisServer
from .test_command import run

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


def test_a_reply_that_cannot_be_read_does_not_tell_whether_jobs_are_counted() -> None:
    """Only a worker that was understood is said to count nothing."""
    assert facts_of("a@t", "stats", None)["monitored"] is None
    assert facts_of("a@t", "stats", {"uptime": 1})["monitored"] is False


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


NO_NUMBERS = [math.nan, math.inf, -math.inf, -1, 10**400, True, "1", [1]]


@pytest.mark.parametrize("number", NO_NUMBERS, ids=lambda number: repr(number)[:8])
def test_a_number_that_is_none_is_null_in_every_answer(
    celery_app: Celery, make_app: Callable[..., Flask], number: Any
) -> None:
    """Details, tasks and metrics answer 200 in valid JSON, without a value for it."""
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


def test_names_cannot_steer_the_terminal(redis: RedisServer, celery_app: Celery) -> None:
    """ESC, line ends, bidi marks and lone surrogates in a node's name: one line of ``--nagios``, and text alone."""
    with ScriptedNode(celery_app, "a@t", {**REPLIES, "active_queues": []}, said_name=HOSTILE):
        nagios, verbose = run(redis.url, "--nagios"), run(redis.url, "--verbose")
    assert "answering without one: a?[2J????@t" in nagios.stdout
    assert nagios.stdout.count("\n") == 1
    assert all(line.isprintable() for line in (nagios.stdout + verbose.stdout).splitlines())


def test_names_can_neither_break_nor_bloat_a_scrape(celery_app: Celery, make_app: Callable[..., Flask]) -> None:
    """A lone surrogate is no reason for a 500, and of a name of 1 MB 256 characters are kept."""
    with (
        ScriptedNode(celery_app, "a@t", said_name=HOSTILE),
        ScriptedNode(celery_app, "b@t", {**REPLIES, "active_queues": [{"name": "q" * 10**6}]}, said_name="b" * 10**6),
    ):
        answer = make_app(celery_app, queues=["celery"]).test_client().get("/metrics")
    assert answer.status_code == 200
    up = {labels["hostname"] for labels, _ in Exposition(answer.text).series("celery_worker_up")}
    assert up == {"a?[2J????@t", "b" * 256}


def test_a_reply_that_is_too_long_is_not_read(celery_app: Celery, make_app: Callable[..., Flask]) -> None:
    """Of 9 MB nothing is decoded: the worker counts, a sentence says why what it said is not known, tasks/ is a 503."""
    with ScriptedNode(celery_app, "a@t", {**REPLIES, "active": [{"id": "1", "type": "a" * 9_000_000}]}):
        app = make_app(celery_app, cache_seconds=0, timeout_seconds=10)
        wait_until(lambda: "a@t: a reply was too long to be read" in probe(app).notes, "the long reply has come")
        found = probe(app)
        refusals = [app.test_client().get(f"/api/celery/{path}/") for path in ("tasks", "stats")]
    assert [(each.status_code, each.json["error"]["code"]) for each in refusals] == [(503, "reply_too_long")] * 2
    (worker,) = found.body["details"]["workers"]
    assert (found.status, found.workers, worker["active"], worker["reserved"]) == (200, ["a@t"], None, 0)


anything = st.recursive(
    st.sampled_from([*NO_NUMBERS, None, HOSTILE, [], {}]) | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=8,
)


def like(shape: Any) -> st.SearchStrategy[Any]:
    """The shape of a real reply, with anything in any place."""
    if isinstance(shape, dict):
        return anything | st.fixed_dictionaries({}, optional={key: like(value) for key, value in shape.items()})
    return anything | (st.lists(like(shape[0]), max_size=2) if isinstance(shape, list) else st.just(shape))


TASK = {"id": "1", "type": "a", "name": "b", "time_start": 1.0}
SAID = {
    "active_queues": [{"name": "celery"}],
    "active": [TASK],
    "scheduled": [{"eta": "2024-01-28T10:30:00", "request": TASK}],
    "reserved": [TASK],
}
POOL = {"implementation": "celery.concurrency.prefork:TaskPool", "max-concurrency": 1, "processes": [7]}
PLACE = {"kind": "redis", "place": "redis://h:1/0", "keys": "{k}", "id": "1"}
STORE = {**PLACE, "failing_since": 1.0, "error": "OSError", "unsent": 1, "notes": ["a"]}
COUNTED = {"registered": 2, "counted": 1, "not_counted": ["a"]}
OURS = {"store": STORE, "tasks": COUNTED, "inspection": {**SAID, "reserved": 1}}
STATS = {"uptime": 1, "pool": POOL, "celery_health": OURS}


@given(replies=st.fixed_dictionaries({name: like(shape) for name, shape in {"stats": STATS, **SAID}.items()}))
def test_whatever_a_reply_says_every_answer_can_be_made(replies: dict[str, Any]) -> None:
    """JSON without NaN, and text of printable lines."""
    facts: dict[str, Any] = {}
    for command, reply in replies.items():
        facts |= facts_of("a@t", command, reply)
    observation = observation_of(Answers({"a@t": facts}, {}, {}, (), {}), 0.1)
    report = judge(observation, Settings(), "upstream")
    tasks = tasks_body(observation.running, observation.scheduled, 100)
    for body in (health_body(report, verbose=True), tasks, stats_body(observation)):
        json.dumps(body, allow_nan=False)
    text = [headline(report, Settings()), nagios_line(report, Settings()), *lines(report, Settings(), verbose=True)]
    assert [line for line in text if not line.isprintable()] == []
