"""Sentences about workers that do not count all their tasks."""

from __future__ import annotations

import pytest

from celery_health_bp.notes import name_list, nothing_counted, partly_counted
from celery_health_bp.report import TaskFacts, Worker


@pytest.mark.parametrize(
    ("names", "number", "expected"),
    [
        (["a"], None, "a"),
        (list("abcde"), None, "a, b, c, d, e"),
        (list("abcdefg"), None, "a, b, c, d, e and 2 more"),
        (["a"], 8, "a and 7 more"),
        ([], 0, ""),
    ],
)
def test_a_list_of_names_has_at_most_five(names: list[str], number: int | None, expected: str) -> None:
    """The rest is a number, also if the names themselves are not complete."""
    assert name_list(names, number) == expected


def test_workers_without_this_package_are_named() -> None:
    """Workers that count their tasks, and those whose replies were unreadable, are not mentioned."""
    workers = [Worker("a@h", monitored=False), Worker("b@h", monitored=True), Worker("c@h", monitored=None)]
    assert nothing_counted(workers) == ("a@h: no job is counted (no task is a MonitoredTask)",)
    assert nothing_counted(workers[1:]) == ()


def test_workers_with_the_same_uncounted_tasks_share_a_sentence() -> None:
    """A thousand such workers make one sentence, which names five of them."""
    forgotten = TaskFacts(3, 2, ("jobs.a",))
    workers = [Worker(f"w{n:03}@h", monitored=True, tasks=forgotten) for n in range(1000)]
    assert partly_counted(workers) == (
        "w000@h, w001@h, w002@h, w003@h, w004@h and 995 more: 1 of 3 tasks is not counted (no MonitoredTask): jobs.a",
    )


def test_workers_that_count_all_tasks_make_no_sentence() -> None:
    """A worker with as many counted as registered tasks, and one that reports no numbers, are not mentioned."""
    workers = [Worker("a@h", monitored=True, tasks=TaskFacts(3, 3, ())), Worker("b@h", monitored=True)]
    assert partly_counted(workers) == ()


def test_different_uncounted_tasks_are_different_sentences() -> None:
    """The verb agrees with the number of tasks."""
    workers = [
        Worker("a@h", monitored=True, tasks=TaskFacts(3, 2, ("x",))),
        Worker("b@h", monitored=True, tasks=TaskFacts(9, 1, ("x", "y"))),
    ]
    assert partly_counted(workers) == (
        "a@h: 1 of 3 tasks is not counted (no MonitoredTask): x",
        "b@h: 8 of 9 tasks are not counted (no MonitoredTask): x, y and 6 more",
    )
