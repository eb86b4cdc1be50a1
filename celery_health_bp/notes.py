"""Wording shared by reports and logs: lists of names, and notes on workers that do not count all tasks."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence

from .report import TaskFacts, Worker

logger: logging.Logger = logging.getLogger(__name__)

#: Most names in a sentence, and most characters of a task's name in it.
MAX_NAMES, MAX_NAME = 5, 100


def name_list(names: Sequence[str], number: int | None = None) -> str:
    """Return the first five names, separated by commas, and how many more there are.

    Arguments:
        names: the names, or the first of them.
        number: total number, if ``names`` is not complete.
    """
    rest = (len(names) if number is None else number) - len(names[:MAX_NAMES])
    return ", ".join(names[:MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def warn(sentence: str) -> None:
    """Log a sentence of the report. Commands, which print the report, silence this logger."""
    logger.warning("%s", sentence)


def nothing_counted(workers: Iterable[Worker]) -> tuple[str, ...]:
    """Return a sentence on the workers that run without this package; none if there are no such workers.

    A worker without a ``MonitoredTask`` does not load this package, so it cannot log this.
    """
    names = [worker.name for worker in workers if worker.monitored is False]
    return (f"{name_list(names)}: no job is counted (no task is a MonitoredTask)",) if names else ()


def partly_counted(workers: Iterable[Worker]) -> tuple[str, ...]:
    """Return a sentence for each group of workers that do not count the same tasks."""
    groups: dict[TaskFacts, list[str]] = defaultdict(list)
    for worker in workers:
        if worker.tasks is not None and worker.tasks.counted < worker.tasks.registered:
            groups[worker.tasks].append(worker.name)
    return tuple(
        f"{name_list(names)}: {uncounted_sentence(tasks.registered, tasks.counted, tasks.not_counted)}"
        for tasks, names in groups.items()
    )


def uncounted_sentence(registered: int, counted: int, not_counted: Sequence[str]) -> str:
    """Return a sentence on the tasks of a worker that are not counted.

    Arguments:
        registered: number of registered tasks.
        counted: number of counted tasks.
        not_counted: first names of tasks that are not counted.
    """
    number = registered - counted
    verb = "is" if number == 1 else "are"
    return f"{number} of {registered} tasks {verb} not counted (no MonitoredTask): {name_list(not_counted, number)}"
