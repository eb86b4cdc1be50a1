"""Do the workers send their job totals to the store that this process reads?"""

from __future__ import annotations

import pytest

from celery_health_bp.asking.agreement import ADVICE, MAX_LOGGED, Agreement
from celery_health_bp.report import StoreFacts, Worker
from tests.support.memory_store import MemoryStore, away

OWN = StoreFacts("redis", MemoryStore.place, MemoryStore.keys)
ELSEWHERE = StoreFacts("redis", "redis://elsewhere:6379/0", "{test}", "another id")
OTHER_KEYS = StoreFacts("redis", MemoryStore.place, "{other}", "another id")
CONTROL = StoreFacts("control")


@pytest.fixture
def store() -> MemoryStore:
    """The store that this process reads; it has an id."""
    store = MemoryStore()
    store.identity(create=True)
    return store


def compared(agreement: Agreement, *stores: StoreFacts | None) -> tuple[str, ...]:
    """Return the sentences about workers with these stores; check that each is about a worker with another store."""
    strays, sentences = agreement.compare([Worker(f"w{n}@h", store=store) for n, store in enumerate(stores)], 10)
    assert bool(strays) == bool(sentences)
    return sentences


def test_workers_with_the_same_store_agree(store: MemoryStore) -> None:
    """The id decides, whatever name of the server a worker uses; a worker that could not read the id agrees too."""
    same_id = StoreFacts("redis", "redis://another-name:6379/0", "{test}", store.identity())
    assert compared(Agreement(store), OWN, same_id, None) == ()


def test_two_servers_with_the_same_name_differ(store: MemoryStore) -> None:
    """Equal place and keys with another id are a sentence: each host may have its own Redis at localhost."""
    (sentence,) = compared(Agreement(store), StoreFacts(OWN.kind, OWN.place, OWN.keys, "another id"))
    assert sentence == (
        f"Job totals of w0@h go to {OWN.place} (keys {{test}}), but this process reads another server "
        f"of the same name: {ADVICE}"
    )


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        (ELSEWHERE, "go to redis://elsewhere:6379/0 (keys {test}), but this process reads {own} (keys {{test}})"),
        (OTHER_KEYS, "go to {own} (keys {{other}}), but this process reads {own} (keys {{test}})"),
        (CONTROL, 'stay in memory (metrics_store="control"), but this process reads {own} (keys {{test}})'),
    ],
    ids=["place", "keys", "control"],
)
def test_another_store_is_named(store: MemoryStore, workers: StoreFacts, expected: str) -> None:
    """The sentence has the workers, their store, ours, and what to configure."""
    (sentence,) = compared(Agreement(store), workers)
    facts = expected.replace("{own}", OWN.place).replace("{{", "{").replace("}}", "}")
    assert sentence == f"Job totals of w0@h {facts}: {ADVICE}"


def test_a_process_without_a_store_names_the_workers_store() -> None:
    """With ``metrics_store="control"`` in this process alone, its scrapes would not find the workers' totals."""
    agreement = Agreement(None)
    assert compared(agreement, CONTROL) == ()
    (sentence,) = compared(agreement, ELSEWHERE)
    assert 'but this process asks the workers for them (metrics_store="control")' in sentence


def test_without_an_id_of_our_store_only_other_keys_and_kinds_differ(store: MemoryStore) -> None:
    """While our store is away the place alone proves nothing: one server may have several names."""
    store.error = away()
    assert compared(Agreement(store), ELSEWHERE) == ()
    assert len(compared(Agreement(store), OTHER_KEYS, CONTROL)) == 2


def test_a_store_that_was_emptied_still_agrees(store: MemoryStore) -> None:
    """Workers may report the former id for a while: ids that our store had are remembered."""
    agreement = Agreement(store)
    former = StoreFacts("redis", OWN.place, OWN.keys, store.identity())
    assert compared(agreement, former) == ()
    store.empty()
    store.identity(create=True)
    current = StoreFacts("redis", OWN.place, OWN.keys, store.identity())
    assert former != current
    for _ in range(2):
        assert compared(agreement, former, current) == ()


def test_the_id_is_read_only_if_it_can_decide(store: MemoryStore) -> None:
    """Workers without an id, with other keys or without a store are compared without a call to the store."""
    before = store.asked
    compared(Agreement(store), OWN, None, OTHER_KEYS, CONTROL)
    assert store.asked == before
    compared(Agreement(store), ELSEWHERE)
    assert store.asked == before + 1


def test_a_large_fleet_with_another_store_is_one_short_sentence(store: MemoryStore) -> None:
    """A thousand workers with the same other store are five names and a number."""
    store.error = away()
    workers = [Worker(f"w{n:03}@h", store=OTHER_KEYS) for n in range(1000)]
    strays, sentences = Agreement(store).compare(workers, 0)
    assert (len(strays), len(sentences)) == (1000, 1)
    assert sentences[0].startswith(
        "Job totals of w000@h, w001@h, w002@h, w003@h, w004@h and 995 more go to redis://memory"
    )


def test_each_store_is_logged_once(store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    """Further checks, with other workers, log nothing new; the number of lines is limited."""
    agreement = Agreement(store)
    for _ in range(2):
        compared(agreement, ELSEWHERE)
        compared(agreement, ELSEWHERE, ELSEWHERE)
    assert len(caplog.messages) == 1
    compared(agreement, *[StoreFacts("redis", f"redis://h{n}:1/0", "{x}", "another id") for n in range(MAX_LOGGED)])
    assert len(caplog.messages) == MAX_LOGGED
