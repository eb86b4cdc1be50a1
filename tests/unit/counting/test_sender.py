"""The sender: batches that are added once, what it reports of a failing store, and what it logs."""

from __future__ import annotations

import time

import pytest

from celery_health_bp.counting.ledger import Ledger
from celery_health_bp.counting.outcomes import COMPLETED, STARTED
from celery_health_bp.counting.sender import INSPECTION_FLUSHES, MAX_TASKS, Sender
from celery_health_bp.stores import MAX_BATCH, Added
from tests.support.memory_store import MemoryStore, away, refused


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


@pytest.fixture
def ledger() -> Ledger:
    """An empty ledger."""
    return Ledger((1.0,), 10)


@pytest.fixture
def sender(ledger: Ledger, store: MemoryStore) -> Sender:
    """Sends the counts of ``ledger`` to ``store``."""
    return Sender(ledger, store)


def sequences(store: MemoryStore) -> list[int]:
    """Return the sequence numbers of all calls, in order."""
    return [sequence for _, sequence in store.tried]


# -- batches --


def test_nothing_is_sent_when_nothing_was_counted(sender: Sender, store: MemoryStore) -> None:
    """A flush of an empty ledger succeeds without a call to the store."""
    assert sender.flush()
    assert store.tried == []


def test_many_counts_go_in_several_batches(sender: Sender, ledger: Ledger, store: MemoryStore) -> None:
    """No batch has more than ``MAX_BATCH`` numbers, each has the next sequence, and the totals are complete."""
    for number in range(2 * MAX_BATCH + 1):
        ledger.count(STARTED, f"job{number}", "acme")
    assert sender.flush()
    assert sequences(store) == [1, 2, 3]
    assert store.totals().events == 2 * MAX_BATCH + 1


def test_a_batch_whose_reply_was_lost_is_added_once(sender: Sender, ledger: Ledger, store: MemoryStore) -> None:
    """It is sent again with its own sequence; later counts wait in the ledger and make one batch."""
    store.loses_replies = True
    for _ in range(3):
        ledger.count(STARTED, "job", "acme")
        assert not sender.flush()
    store.loses_replies = False
    assert sender.flush()
    assert sender.flush()
    assert sequences(store) == [1, 1, 1, 1, 2]
    assert store.totals().events == 3


def test_a_flush_goes_on_where_the_last_one_failed(sender: Sender, ledger: Ledger, store: MemoryStore) -> None:
    """Of several batches those that were accepted are not sent again."""
    for number in range(2 * MAX_BATCH):
        ledger.count(STARTED, f"job{number}", "acme")
    store.error = away()
    assert not sender.flush()
    store.error = None
    assert sender.flush()
    assert sequences(store) == [1, 1, 2]
    assert store.totals().events == 2 * MAX_BATCH


def test_two_senders_have_different_writer_names(sender: Sender, ledger: Ledger, store: MemoryStore) -> None:
    """Each process is a writer with its own sequence in the store."""
    assert Sender(ledger, store).writer != sender.writer


# -- a failing store --


def test_facts_have_the_time_of_the_first_failure(sender: Sender, ledger: Ledger, store: MemoryStore) -> None:
    """The worker's reply holds the time of the first failure, the error and the number of waiting events."""
    before = time.time()
    store.error = away()
    ledger.count(STARTED, "job", "acme")
    sender.flush()
    since = sender.facts()["failing_since"]
    ledger.count(STARTED, "job", "acme")
    sender.flush()
    facts = sender.facts()
    assert before <= since <= time.time()
    assert (facts["failing_since"], facts["error"], facts["unsent"]) == (since, "ConnectionRefusedError", 2)
    assert (facts["kind"], facts["place"], facts["keys"]) == ("redis", store.place, store.keys)


def test_a_success_clears_the_failure_in_the_facts(sender: Sender, ledger: Ledger, store: MemoryStore) -> None:
    """The first batch that arrives clears time, error and number."""
    store.error = away()
    ledger.count(STARTED, "job", "acme")
    sender.flush()
    store.error = None
    sender.flush()
    facts = sender.facts()
    assert (facts["failing_since"], facts["error"], facts["unsent"]) == (None, None, 0)


def test_a_failing_store_is_tried_again_without_counts(sender: Sender, store: MemoryStore) -> None:
    """With nothing to send a flush adds an empty batch with sequence 0, until one is accepted."""
    store.error = away()
    sender.try_out()
    assert not sender.flush()
    store.error = None
    assert sender.flush()
    assert sender.flush()
    assert sequences(store) == [0, 0, 0]


def test_a_failure_is_logged_once(
    sender: Sender, ledger: Ledger, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """One line when it begins, one when the store refuses what it was only away for, and one when it is over."""
    ledger.count(STARTED, "job", "acme")
    for error in (away(), away(), refused(), refused(), None):
        store.error = error
        sender.flush()
    waiting = "counting goes on in memory, and the counts are sent again"
    assert caplog.messages == [
        f"job totals: the store in memory cannot be reached; {waiting} when it is back",
        f"job totals: the store in memory refuses; {waiting} until they are accepted; this does not pass by itself",
        "job totals: the store is back, what had waited is sent",
    ]


def test_an_unexpected_error_is_raised_and_the_batch_is_kept(
    sender: Sender, ledger: Ledger, store: MemoryStore
) -> None:
    """The recorder logs the error; the facts name its class, and the next flush sends the same batch."""
    store.error = KeyError("of our own")
    ledger.count(STARTED, "job", "acme")
    with pytest.raises(KeyError):
        sender.flush()
    assert sender.facts()["error"] == "KeyError"
    store.error = None
    assert sender.flush()
    assert sequences(store) == [1, 1]
    assert store.totals().events == 1


# -- a store that has lost keys --


def test_lost_totals_are_noted(
    sender: Sender, ledger: Ledger, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Facts and log say that the totals begin at 0, with the keys and the time."""
    store.missed = Added(totals_gone=True)
    ledger.count(STARTED, "job", "acme")
    sender.flush()
    (note,) = sender.facts()["notes"]
    assert "UTC {test}:totals was gone" in note
    assert caplog.messages == [f"job totals: {note}"]


@pytest.mark.parametrize(("sent_again", "notes"), [(False, 0), (True, 1)])
def test_a_lost_sequence_is_noted_only_for_a_batch_that_was_sent_again(
    sender: Sender, ledger: Ledger, store: MemoryStore, sent_again: bool, notes: int
) -> None:
    """A store that has lost a writer's sequence may add a repeated batch twice, but not a new one."""
    ledger.count(STARTED, "job", "acme")
    if sent_again:
        store.loses_replies = True
        sender.flush()
        store.loses_replies = False
    store.missed = Added(writer_gone=True)
    sender.flush()
    assert len(sender.facts()["notes"]) == notes


def test_the_id_of_the_store_is_read_again_after_some_flushes(
    sender: Sender, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker reads id and dangers when it starts and after each 10 flushes; a danger is logged once."""
    store.warnings = ("it may evict totals",)
    sender.try_out()
    assert (sender.facts()["id"], sender.facts()["notes"]) == (store.identity(), ["it may evict totals"])
    store.warnings = ("it may evict totals", "it does not save")
    for _ in range(INSPECTION_FLUSHES - 1):
        sender.flush()
    assert sender.facts()["notes"] == ["it may evict totals"]
    sender.flush()
    assert sender.facts()["notes"] == ["it may evict totals", "it does not save"]
    assert caplog.messages == ["job totals: it may evict totals", "job totals: it does not save"]


def test_a_web_process_does_not_read_the_id_of_the_store(sender: Sender, ledger: Ledger, store: MemoryStore) -> None:
    """Without ``try_out``, which only workers call, the store gets no id and its dangers are not read."""
    store.warnings = ("it may evict totals",)
    ledger.count(STARTED, "job", "acme")
    for _ in range(2 * INSPECTION_FLUSHES):
        sender.flush()
    assert (sender.facts()["id"], store.identity(), sender.facts()["notes"]) == (None, None, [])


# -- the end of a process --


def test_nothing_is_logged_if_everything_was_sent(
    sender: Sender, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """After a successful flush ``log_unsent`` logs nothing."""
    ledger.count(STARTED, "job", "acme")
    sender.flush()
    sender.log_unsent()
    assert caplog.messages == []


def test_unsent_counts_are_logged_once(
    sender: Sender, ledger: Ledger, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """``stop`` may run twice in a process: the same numbers make one line, other numbers another one."""
    store.error = away()
    ledger.count(STARTED, "job", "acme")
    for _ in range(2):
        sender.log_unsent()
    ledger.count(COMPLETED, "job", "acme", 0.5)
    sender.log_unsent()
    assert [message.rpartition(": ")[2] for message in caplog.messages] == ["1 started", "1 started, 1 completed"]


def test_unsent_counts_of_many_tasks_are_a_bounded_line(
    sender: Sender, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """Twenty tasks are named, and the rest is one number."""
    for number in range(MAX_TASKS + 5):
        ledger.count(STARTED, f"job{number:02}", "acme")
    sender.log_unsent()
    (message,) = caplog.messages
    assert message.count(" started") == MAX_TASKS
    assert message.endswith("job19: 1 started; 5 more tasks: 5")
