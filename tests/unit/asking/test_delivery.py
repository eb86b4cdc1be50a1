"""Sentences about job totals that do not reach their store."""

from __future__ import annotations

from celery_health_bp.asking.delivery import delivery_notes
from celery_health_bp.report import Sending, StoreFacts, Worker

STORE = StoreFacts("redis", "redis://h:6379/0", "{x}")


def worker(name: str, sending: Sending | None, store: StoreFacts | None = STORE) -> Worker:
    """Return a worker that reports this about its sending."""
    return Worker(f"{name}@h", store=store, sending=sending)


def test_workers_that_send_make_no_sentence() -> None:
    """A worker without failures and notes, and one that reports nothing, are not mentioned."""
    assert delivery_notes([worker("a", Sending()), worker("b", None)], 100.0) == ()


def test_workers_with_the_same_failure_share_a_sentence() -> None:
    """It has their names, the store, the longest time, the error, and the sum of waiting events."""
    workers = [worker("a", Sending(70.0, "ReadOnlyError", 3)), worker("b", Sending(40.0, "ReadOnlyError", 4))]
    (sentence,) = delivery_notes(workers, 100.0)
    assert sentence == (
        "Job totals of a@h, b@h cannot be sent to redis://h:6379/0 for 60 s (ReadOnlyError): "
        "7 events wait in memory and are sent again"
    )


def test_each_error_and_each_store_has_its_sentence() -> None:
    """Workers with different errors or stores are not mixed; an unknown store and error are left out."""
    workers = [
        worker("a", Sending(90.0, "ReadOnlyError", 1)),
        worker("b", Sending(90.0, "TimeoutError", 1)),
        worker("c", Sending(90.0, "", 1), None),
    ]
    waiting = "1 events wait in memory and are sent again"
    assert delivery_notes(workers, 100.0) == (
        f"Job totals of a@h cannot be sent to redis://h:6379/0 for 10 s (ReadOnlyError): {waiting}",
        f"Job totals of b@h cannot be sent to redis://h:6379/0 for 10 s (TimeoutError): {waiting}",
        f"Job totals of c@h cannot be sent to their store for 10 s: {waiting}",
    )


def test_a_clock_ahead_of_ours_gives_zero_seconds() -> None:
    """A failure that began after now, by the worker's clock, is 0 s old."""
    (sentence,) = delivery_notes([worker("a", Sending(200.0))], 100.0)
    assert "for 0 s" in sentence


def test_workers_with_the_same_note_share_a_sentence() -> None:
    """Each note is one sentence with the names of its workers."""
    workers = [worker("a", Sending(notes=("it evicts", "it lost keys"))), worker("b", Sending(notes=("it evicts",)))]
    assert delivery_notes(workers, 100.0) == (
        "Job totals, says a@h, b@h: it evicts",
        "Job totals, says a@h: it lost keys",
    )
