"""Replies are untrusted: an unreadable value hides neither its worker nor the rest of the report."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celery_health_bp import Settings
from celery_health_bp.asking.fleet import Answers
from celery_health_bp.asking.observation import observation_of
from celery_health_bp.asking.replies import MAX_NOTES, MAX_TEXT, facts_of
from celery_health_bp.cli.render import headline, lines, nagios_line
from celery_health_bp.report import Sending
from celery_health_bp.schemas import health_body, stats_body, tasks_body
from celery_health_bp.verdict import judge


@pytest.mark.parametrize("store", [None, "redis", [], {}, {"kind": "redis"}, {"kind": [], "place": {}, "keys": 1}])
def test_a_malformed_store_in_a_reply_is_ignored(store: Any) -> None:
    """A store without place and keys (version 0.1 sends its kind alone) is ``None``; the worker counts as monitored."""
    facts = facts_of("a@t", "stats", {"celery_health": {"store": store}})
    assert (facts["monitored"], facts["store"]) == (True, None)


def test_an_unreadable_reply_leaves_monitored_unknown() -> None:
    """``monitored`` is ``False`` only for a readable reply without our key."""
    assert facts_of("a@t", "stats", None)["monitored"] is None
    assert facts_of("a@t", "stats", {"uptime": 1})["monitored"] is False


def test_a_text_in_a_reply_is_bounded() -> None:
    """A key prefix of a megabyte is cut."""
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
def test_a_malformed_value_about_sending_is_ignored(key: str, value: Any) -> None:
    """A malformed value equals a missing one."""
    store = {"kind": "redis", "place": "redis://h:1/0", "keys": "{x}", key: value}
    assert facts_of("a@t", "stats", {"celery_health": {"store": store}})["sending"] == Sending()


def test_notes_of_a_reply_are_bounded() -> None:
    """The number and the length of the notes that a worker adds to the report are limited."""
    store = {"kind": "redis", "place": "redis://h:1/0", "keys": "{x}", "notes": ["x" * 1000] * 1000}
    notes = facts_of("a@t", "stats", {"celery_health": {"store": store}})["sending"].notes
    assert (len(notes), len(notes[0])) == (MAX_NOTES, MAX_TEXT)


NO_NUMBERS = [math.nan, math.inf, -math.inf, -1, 10**400, True, "1", [1]]


HOSTILE = "a\x1b[2J\r\n\u202e\ud800@t"


anything = st.recursive(
    st.sampled_from([*NO_NUMBERS, None, HOSTILE, [], {}]) | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=8,
)


def like(shape: Any) -> st.SearchStrategy[Any]:
    """Generate values of this shape in which any part may be replaced by anything."""
    if isinstance(shape, dict):
        return anything | st.fixed_dictionaries({}, optional={key: like(value) for key, value in shape.items()})
    return anything | (st.lists(like(shape[0]), max_size=2) if isinstance(shape, list) else st.just(shape))


TASK = {"id": "1", "type": "a", "name": "b", "time_start": 1.0}
INSPECTED = {
    "active_queues": [{"name": "celery"}],
    "active": [TASK],
    "scheduled": [{"eta": "2024-01-28T10:30:00", "request": TASK}],
    "reserved": [TASK],
}
POOL = {"implementation": "celery.concurrency.prefork:TaskPool", "max-concurrency": 1, "processes": [7]}
PLACE = {"kind": "redis", "place": "redis://h:1/0", "keys": "{k}", "id": "1"}
STORE = {**PLACE, "failing_since": 1.0, "error": "OSError", "unsent": 1, "notes": ["a"]}
COUNTED = {"registered": 2, "counted": 1, "not_counted": ["a"]}
OURS = {"store": STORE, "tasks": COUNTED, "inspection": {**INSPECTED, "reserved": 1}}
STATS = {"uptime": 1, "pool": POOL, "celery_health": OURS}


@settings(max_examples=50, deadline=None)
@given(replies=st.fixed_dictionaries({name: like(shape) for name, shape in {"stats": STATS, **INSPECTED}.items()}))
def test_no_reply_breaks_an_answer(replies: dict[str, Any]) -> None:
    """All bodies are JSON without NaN and all lines of the command are printable, whatever the replies hold."""
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


@pytest.mark.parametrize(
    "tasks",
    [
        *(None, [], {}, "8"),
        {"registered": 1, "counted": 2},
        {"registered": -1, "counted": -1},
        {"registered": True, "counted": True},
        {"registered": 1e999, "counted": 0},
        {"registered": 10**400, "counted": 1},
    ],
)
def test_malformed_numbers_of_tasks_are_ignored(tasks: Any) -> None:
    """Missing numbers (older versions) and impossible ones are ``None``."""
    assert facts_of("a@t", "stats", {"celery_health": {"tasks": tasks}})["tasks"] is None


@pytest.mark.parametrize("names", [None, "abc", {}, [1, None, {}], ["x" * 10_000] * 10_000])
def test_names_in_a_reply_are_bounded(names: Any) -> None:
    """At most five names of 100 characters are kept, and values that are not text are left out."""
    facts = facts_of(
        "a@t", "stats", {"celery_health": {"tasks": {"registered": 9, "counted": 1, "not_counted": names}}}
    )
    found = facts["tasks"].not_counted
    assert len(found) <= 5
    assert all(len(name) == 100 for name in found)
