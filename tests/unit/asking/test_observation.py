"""From the answers of a check to an observation."""

from __future__ import annotations

from typing import Any

import pytest

from celery_health_bp.asking.fleet import Answers
from celery_health_bp.asking.observation import observation_of
from celery_health_bp.asking.replies import facts_of
from celery_health_bp.errors import RemoteControlOff
from celery_health_bp.report import Observation, Queue
from tests.support.nodes import REPLIES


def facts(name: str, **changed: Any) -> dict[str, Any]:
    """Return the facts of a worker that consumes ``celery``.

    Arguments:
        changed: command -> another reply; ``None`` is an unreadable one.
    """
    found: dict[str, Any] = {}
    for command, reply in {**REPLIES, **changed}.items():
        found |= facts_of(name, command, reply)
    return found


def observed(*workers: str, lengths: dict[str, int], **answers: Any) -> Observation:
    """Return the observation of workers that consume ``celery``."""
    given: dict[str, Any] = {
        "facts": {name: facts(name) for name in workers},
        "silent": {},
        "doubled": (),
        "others": {},
    }
    return observation_of(Answers(lengths=lengths, **{**given, **answers}), 0.1, ("a note of ours",))


def test_a_queue_has_the_number_of_its_consumers() -> None:
    """Workers are counted by the queues that they consume."""
    found = observed("a@h", "b@h", lengths={"celery": 5, "mail": 1})
    assert found.queues == {"celery": Queue(5, 2), "mail": Queue(1, 0)}
    assert [worker.name for worker in found.workers] == ["a@h", "b@h"]


@pytest.mark.parametrize(
    "answers",
    [
        {"facts": {"a@h": facts("a@h"), "b@h": facts("b@h", active_queues=None)}},
        {"facts": {"a@h": facts("a@h")}, "problem": RemoteControlOff("off", "switch it on")},
    ],
    ids=["unreadable", "problem"],
)
def test_without_all_answers_no_queue_is_without_consumer(answers: dict[str, Any]) -> None:
    """If a worker's queues are not known, a queue without known consumers has an unknown number of them."""
    found = observed(lengths={"celery": 5, "mail": 1}, **answers)
    assert found.queues == {"celery": Queue(5, 1), "mail": Queue(1, None)}


def test_gaps_of_a_check_are_notes() -> None:
    """Silent, doubled and unreadable workers, and foreign consumers of our queues, are sentences before our notes."""
    found = observed(
        "a@h",
        lengths={"celery": 0},
        silent={"c@h": 61.4, "b@h": 7.0},
        doubled=["a@h"],
        unread=["d@h"],
        others={"x@h": {**facts("x@h", active_queues=[{"name": "celery"}, {"name": "own"}]), "application": "shop"}},
    )
    assert found.silent == ("b@h", "c@h")
    assert found.not_known == (
        "b@h: not answering since 7 s",
        "c@h: not answering since 61 s",
        "a@h: several nodes answer under this name, one of them is shown",
        "d@h: a reply was too long to be read",
        "x@h of the application shop consumes queue celery: it takes our messages",
        "a note of ours",
    )
