"""Converts the answers of a check to an ``Observation``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..report import Observation, Queue, Worker
from .delivery import delivery_notes
from .fleet import Answers
from .replies import worker_of


def observation_of(answers: Answers, duration_seconds: float, notes: tuple[str, ...] = ()) -> Observation:
    """Return the observation for a check's answers.

    Arguments:
        answers: from ``Fleet.ask``.
        duration_seconds: how long the check took.
        notes: more sentences for ``Observation.not_known``.
    """
    workers, others = _workers_of(answers.facts), _workers_of(answers.others)
    consumed = Counter(name for worker in workers for name in worker.queues or ())
    complete = answers.problem is None and all(worker.queues is not None for worker in workers)
    silent = {name: round(seconds) for name, seconds in sorted(answers.silent.items())}
    return Observation(
        taken_at=time.time(),
        duration_seconds=duration_seconds,
        workers=workers,
        queues={
            name: Queue(length, consumed[name] if complete or consumed[name] else None)
            for name, length in answers.lengths.items()
        },
        problem=answers.problem,
        silent=tuple(silent),
        not_known=(
            *(f"{name}: not answering since {seconds} s" for name, seconds in silent.items()),
            *(f"{name}: several nodes answer under this name, one of them is shown" for name in answers.doubled),
            *(f"{name}: a reply was too long to be read" for name in answers.unread),
            *delivery_notes(workers, time.time()),
            *(
                f"{worker.name} of the application {worker.application} consumes queue {queue}: it takes our messages"
                for worker in others
                for queue in worker.queues or ()
                if queue in answers.lengths
            ),
            *notes,
        ),
        others=others,
        unread=tuple(answers.unread),
    )


def _workers_of(facts: Mapping[str, Mapping[str, Any]]) -> tuple[Worker, ...]:
    found = (worker_of(name, known) for name, known in sorted(facts.items()))
    return tuple(worker for worker in found if worker is not None)
