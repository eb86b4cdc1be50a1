"""The rules of ``judge``: from an observation to a report."""

from __future__ import annotations

from typing import Any

import pytest

from celery_health_bp import Settings
from celery_health_bp.errors import BrokerUnreachable
from celery_health_bp.report import HealthReport, Observation, Queue, Worker
from celery_health_bp.verdict import app_argument, judge

START = "Start Celery workers: celery -A upstream worker --loglevel=info"


def verdict(workers: int = 1, queues: dict[str, Queue] | None = None, **settings: Any) -> HealthReport:
    """Return the report on this number of workers that consume the queue ``celery``."""
    found = tuple(Worker(f"worker{number}@host", queues=("celery",)) for number in range(workers))
    observation = Observation(0, 0, found, queues or {"celery": Queue(0, workers)})
    return judge(observation, Settings(**settings), "upstream")


def test_a_worker_and_short_queues_are_healthy() -> None:
    """One worker and an empty queue are healthy without a recommendation."""
    report = verdict()
    assert (report.status, report.error, report.recommendations) == ("healthy", None, ())


@pytest.mark.parametrize(("length", "status"), [(1000, "healthy"), (1001, "degraded")])
def test_the_threshold_is_the_longest_allowed_queue(length: int, status: str) -> None:
    """Exactly the threshold is healthy, one message more is degraded."""
    assert verdict(queues={"celery": Queue(length, 1)}).status == status


def test_a_long_queue_is_named_with_its_length() -> None:
    """The recommendation has the queue's name, its length and what to do."""
    (advice,) = verdict(queues={"celery": Queue(1001, 2)}).recommendations
    assert advice.startswith("Queue celery holds 1001 messages (threshold 1000, consumers: 2): add workers")


def test_a_waiting_queue_without_consumer_degrades() -> None:
    """The recommendation for a queue with messages and no consumer holds the command that starts one."""
    report = verdict(queues={"celery": Queue(0, 1), "mail": Queue(3, 0)})
    assert report.status == "degraded"
    assert report.recommendations == (
        "Queue mail holds 3 messages and no worker consumes it: celery -A upstream worker -Q mail",
    )


@pytest.mark.parametrize("queue", [Queue(0, 0), Queue(3, None), Queue(-1, 0)])
def test_unknown_numbers_of_a_queue_do_not_degrade(queue: Queue) -> None:
    """An empty queue, an unknown number of consumers and an unknown length are healthy."""
    assert verdict(queues={"mail": queue}).status == "healthy"


def test_no_worker_is_unhealthy() -> None:
    """Without workers the report is unhealthy and recommends to start one."""
    report = verdict(workers=0, queues={"celery": Queue(5, 0)})
    assert (report.status, report.error, report.recommendations) == (
        "unhealthy",
        "No active Celery workers found",
        (START,),
    )


def test_fewer_than_min_workers_are_unhealthy() -> None:
    """The error has the number of workers that answer and the number that is required."""
    report = verdict(workers=1, min_workers=2)
    assert (report.status, report.error) == ("unhealthy", "Only 1 of at least 2 workers answer")
    assert report.active_workers == ("worker0@host",)


def test_a_worker_without_a_queue_is_not_active() -> None:
    """A worker that consumes no queue is not active, and the error names it."""
    report = judge(Observation(0, 0, (Worker("idle@host", queues=()),)), Settings(), "upstream")
    assert report.status == "unhealthy"
    assert report.active_workers == ()
    assert "idle@host" in str(report.error)


def test_a_broker_problem_wins_over_everything() -> None:
    """With a broker problem, error and recommendation are those of the problem."""
    problem = BrokerUnreachable("Broker redis://h:1 refused the connection", "Start the broker")
    report = judge(Observation(0, 0, problem=problem, queues={"celery": Queue(-1, None)}), Settings(), "upstream")
    assert (report.status, report.error) == ("unhealthy", "Broker redis://h:1 refused the connection")
    assert report.recommendations == ("Start the broker",)
    assert report.queues == {"celery": -1}


@pytest.mark.parametrize(
    ("main", "setting", "command"),
    [
        ("upstream", None, "celery -A upstream worker --loglevel=info"),
        ("upstream", "proj.celery:app", "celery -A proj.celery:app worker --loglevel=info"),
        ("my shop; rm", None, "celery -A 'my shop; rm' worker --loglevel=info"),
        *(
            (main, None, "celery -A APP worker --loglevel=info (APP: the setting celery_app_argument can say)")
            for main in (None, "", "default", "__main__")
        ),
    ],
)
def test_commands_in_recommendations_can_be_pasted(main: str | None, setting: str | None, command: str) -> None:
    """``-A`` has the setting, or else the app's name; if neither is known, a placeholder and the setting's name."""
    argument = app_argument(main, Settings(celery_app_argument=setting))
    (advice,) = judge(Observation(0, 0), Settings(), argument).recommendations
    assert advice == f"Start Celery workers: {command}"


def test_a_queue_in_a_command_is_quoted() -> None:
    """The name of a queue is quoted for the shell."""
    (advice,) = verdict(queues={"a b": Queue(3, 0)}).recommendations
    assert advice == "Queue a b holds 3 messages and no worker consumes it: celery -A upstream worker -Q 'a b'"
