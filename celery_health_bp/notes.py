"""Sentences on workers that count their jobs in part, or not at all."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence

from .report import TaskFacts, Worker, some

logger: logging.Logger = logging.getLogger(__name__)


def warn(sentence: str) -> None:
    """Log a sentence that the report has too; the commands, which print the report, have this logger silent."""
    logger.warning("%s", sentence)


def nothing_counted(workers: Iterable[Worker]) -> tuple[str, ...]:
    """Return a sentence on the workers that answer without this package, if there are any.

    A worker none of whose tasks is a ``MonitoredTask`` has none of our code
    either, and its own log cannot tell.
    """
    names = [worker.name for worker in workers if worker.monitored is False]
    return (f"{some(names)}: no job is counted (no task is a MonitoredTask)",) if names else ()


def partly_counted(workers: Iterable[Worker]) -> tuple[str, ...]:
    """Return a sentence on each group of workers that leave the same tasks uncounted."""
    groups: dict[TaskFacts, list[str]] = defaultdict(list)
    for worker in workers:
        if worker.tasks is not None and worker.tasks.counted < worker.tasks.registered:
            groups[worker.tasks].append(worker.name)
    return tuple(
        f"{some(names)}: {uncounted_sentence(tasks.registered, tasks.counted, tasks.not_counted)}"
        for tasks, names in groups.items()
    )


def uncounted_sentence(registered: int, counted: int, not_counted: Sequence[str]) -> str:
    """Say how many tasks are not counted, and name some.

    Arguments:
        not_counted: the first of their names.
    """
    number = registered - counted
    verb = "is" if number == 1 else "are"
    return f"{number} of {registered} tasks {verb} not counted (no MonitoredTask): {some(not_counted, number)}"
