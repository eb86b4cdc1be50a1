"""The recorder: its thread, the pauses between flushes, the end of a process, and forked children."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from threading import enumerate as running_threads
from typing import Any

import pytest
from celery import Celery

from celery_health_bp import MonitoredTask, Settings
from celery_health_bp.counting.ledger import Outcome
from celery_health_bp.counting.outcomes import COMPLETED, STARTED
from celery_health_bp.counting.recorder import (
    BACKOFF_LIMIT_SECONDS,
    WAITING_FACTOR,
    Recorder,
    record_internal_error,
    recorder_of,
)
from celery_health_bp.counts import MAX_ERROR_TYPES
from tests.support.children import in_child
from tests.support.error_types import generated, number_of_types
from tests.support.memory_store import MemoryStore, away
from tests.support.processes import wait_until
from tests.support.servers import free_port

HOUR = Settings(flush_interval_seconds=3600)


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


@pytest.fixture
def make_recorder(store: MemoryStore) -> Iterator[Callable[..., Recorder]]:
    """Creates recorders with this store, and stops them at the end: ``make_recorder(settings)``."""
    made: list[Recorder] = []

    def make(settings: Settings = HOUR) -> Recorder:
        made.append(Recorder(settings, store))
        return made[-1]

    yield make
    store.error, store.loses_replies = None, False
    for recorder in made:
        recorder.stop()


@pytest.fixture
def recorder(make_recorder: Callable[..., Recorder]) -> Recorder:
    """A recorder whose thread does not flush during a test."""
    return make_recorder()


def flush_threads() -> int:
    """Return how many threads of recorders run in this process."""
    return sum(thread.name == "celery-health-flush" for thread in running_threads())


def count(recorder: Recorder, number: int = 1, task: str = "job") -> None:
    """Count starts."""
    for _ in range(number):
        recorder.ledger.count(STARTED, task, "acme")


# -- the thread --


def test_a_recorder_starts_no_thread_before_the_first_count(recorder: Recorder) -> None:
    """The thread begins with ``start``, which the first attempt calls, and there is one however often it is called."""
    assert flush_threads() == 0
    with ThreadPoolExecutor(4) as pool:
        for _ in range(8):
            pool.submit(recorder.start)
    assert flush_threads() == 1
    recorder.stop()
    assert flush_threads() == 0


def test_the_first_attempt_of_an_app_starts_its_thread() -> None:
    """An app with a store has no thread until it runs a monitored task."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    app = Celery("eager", broker="memory://", task_cls=MonitoredTask, set_as_current=False)
    app.conf.celery_health = {"metrics_store": url, "flush_interval_seconds": 3600}

    @app.task(name="job", shared=False)
    def job() -> None: ...

    recorder = recorder_of(app)
    assert flush_threads() == 0
    job.apply()
    assert flush_threads() == 1
    recorder.stop()


def test_counts_arrive_within_the_flush_interval(make_recorder: Callable[..., Recorder], store: MemoryStore) -> None:
    """The thread sends what was counted, and goes on with what is counted later."""
    recorder = make_recorder(Settings(flush_interval_seconds=0.01))
    recorder.start()
    for expected in (1, 2):
        count(recorder)
        wait_until(lambda expected=expected: store.totals().events == expected, "the counts have arrived")


def test_counts_without_a_store_stay_in_the_ledger() -> None:
    """Without a store no thread starts, and ``flush`` and ``stop`` leave the counts for the control command."""
    recorder = Recorder(HOUR, None)
    count(recorder)
    recorder.start()
    assert flush_threads() == 0
    assert recorder.flush()
    recorder.stop()
    assert recorder.ledger.copy().events == 1


@pytest.mark.parametrize(("with_store", "factor"), [(False, 1), (True, WAITING_FACTOR)])
def test_more_names_may_wait_for_a_store_than_stay_in_memory(store: MemoryStore, with_store: bool, factor: int) -> None:
    """The caps of customers and error types are those of a task, and ten times as many with a store."""
    settings = Settings(flush_interval_seconds=3600, max_customers=7)
    ledger = Recorder(settings, store if with_store else None).ledger
    for number in range(2000):
        ledger.count(STARTED, "job", f"customer{number}")
    for error in generated(range(2000)):
        ledger.count(Outcome("failed", type(error).__name__), "job", "")
    assert number_of_types(ledger.take()) == {"started": 7 * factor + 1, "failed": MAX_ERROR_TYPES * factor + 1}


# -- a store that fails --


class Pauses(Event):
    """Stands for the event that ends the thread: records each pause instead of waiting.

    Arguments:
        before: called with the number of each pause; the thread ends when there are no more.
    """

    def __init__(self, *before: Callable[[], object]) -> None:
        super().__init__()
        self._before = list(before)
        self.taken: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Record the pause; return whether the thread must end."""
        if not self._before:
            return True
        self.taken.append(timeout)
        self._before.pop(0)()
        return False


def nothing() -> None:
    """Change nothing."""


@pytest.mark.parametrize(
    ("interval", "pauses"),
    [(1.0, [1.0, 2.0, 4.0, BACKOFF_LIMIT_SECONDS, BACKOFF_LIMIT_SECONDS, 1.0]), (10.0, [10.0] * 6)],
)
def test_pauses_double_while_the_store_is_away(
    make_recorder: Callable[..., Recorder], store: MemoryStore, interval: float, pauses: list[float]
) -> None:
    """Pauses grow to 5 s, or stay at a longer interval; after the first success the interval is back."""
    recorder, store.error = make_recorder(Settings(flush_interval_seconds=interval)), away()
    count(recorder)

    def come_back() -> None:
        store.error = None

    stopping = Pauses(*[nothing] * 4, come_back, nothing)
    recorder._run(stopping)
    assert stopping.taken == pauses
    assert store.totals().events == 1


def test_counts_wait_until_the_store_is_back(recorder: Recorder, store: MemoryStore) -> None:
    """Everything that was counted while the store was away arrives, in order, and once."""
    store.error = away()
    for number in range(1, 4):
        count(recorder, number)
        assert not recorder.flush()
    store.error = None
    assert recorder.flush()
    assert recorder.flush()
    assert store.totals().counters == {("started", "job", "", "acme"): 6}
    assert [sequence for _, sequence in store.tried] == [1, 1, 1, 1, 2]


def test_an_unexpected_error_of_the_store_does_not_end_the_thread(
    recorder: Recorder, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted as an internal error each time, logged once with its traceback, and the counts are sent again."""
    store.error = RuntimeError("of our own")
    count(recorder)

    def come_back() -> None:
        store.error = None

    recorder._run(Pauses(nothing, nothing, come_back, nothing))
    found = store.totals()
    assert (found.counters.total(), found.internal_errors) == (1, 2)
    assert caplog.text.count("counting an attempt failed; the job itself is not affected (logged once)") == 1
    assert caplog.text.count("RuntimeError: of our own") == 1


# -- the end of a process --


def test_stop_sends_what_is_left(recorder: Recorder, store: MemoryStore) -> None:
    """The batch that could not be sent goes first, then what was counted since; then the connections are closed."""
    store.error = away()
    count(recorder, 2)
    recorder.flush()
    count(recorder, 3)
    store.error = None
    recorder.start()
    recorder.stop()
    assert store.totals().events == 5
    assert store.closed == 1


def test_stop_logs_what_it_could_not_send(
    recorder: Recorder, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning names the numbers of each task, of the failed batch and of the ledger, and the store is closed."""
    store.error = away()
    count(recorder, 2)
    recorder.flush()
    count(recorder, 3)
    recorder.ledger.count(COMPLETED, "second", "acme", 0.5)
    recorder.stop()
    assert (
        "job totals: 6 counts could not be sent before this process ends, and the store in memory will not have them: "
        "job: 5 started; second: 1 completed"
    ) in caplog.text
    assert store.closed == 1


def test_counts_after_stop_are_sent_by_the_next_one(recorder: Recorder, store: MemoryStore) -> None:
    """Jobs of the threads pool may end after the worker: ``start`` works again, and atexit calls ``stop`` again."""
    recorder.start()
    recorder.stop()
    count(recorder)
    recorder.start()
    assert flush_threads() == 1
    recorder.stop()
    assert store.totals().events == 1


def test_stop_closes_the_store_whatever_the_flush_raises(recorder: Recorder, store: MemoryStore) -> None:
    """An error of the last flush is raised after the connections are closed."""
    store.error = RuntimeError("of our own")
    count(recorder)
    with pytest.raises(RuntimeError, match="of our own"):
        recorder.stop()
    assert store.closed == 1


# -- the worker's step --


def test_the_log_says_where_the_counts_go(
    recorder: Recorder, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that starts logs the store and the interval, and adds nothing to the store."""
    caplog.set_level(logging.INFO)
    recorder.announce()
    assert recorder.in_worker
    assert caplog.messages == ["job totals go to the store in memory every 3600 s"]
    assert (store.totals().events, store.tried[0][1]) == (0, 0)
    assert recorder.store_facts()["id"] == store.identity()


def test_the_log_says_that_counts_stay_in_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    """Without a store the worker logs that each scrape asks it."""
    caplog.set_level(logging.INFO)
    recorder = Recorder(HOUR, None)
    recorder.announce()
    assert caplog.messages == ["job totals stay in this worker (control store): each scrape asks for them"]
    assert recorder.store_facts() == {"kind": "control", "place": "", "keys": "", "id": None}


@pytest.mark.parametrize(("error", "internal_errors"), [(away(), 0), (RuntimeError("of our own"), 1)])
def test_a_worker_starts_without_its_store(
    recorder: Recorder, store: MemoryStore, error: Exception, internal_errors: int
) -> None:
    """Whatever the store raises, ``announce`` does not; what only our own code can raise counts as internal error."""
    store.error = error
    recorder.announce()
    assert recorder.ledger.copy().internal_errors == internal_errors
    assert recorder.store_facts()["error"] in ("ConnectionRefusedError", "RuntimeError")


def test_a_worker_without_the_step_is_warned_once(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """The first attempt warns that the last counts of a shutdown may be lost, unless the step has started."""
    for _ in range(2):
        recorder.expect_step()
    assert caplog.text.count("runs without celery_health_bp.counting.bootstep:RecorderStep") == 1


def test_a_worker_with_the_step_is_not_warned(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """After ``announce`` nothing is logged about the step."""
    recorder.announce()
    recorder.expect_step()
    assert "RecorderStep" not in caplog.text


# -- one recorder per app and process --


def app_with(**configuration: Any) -> Celery:
    """Return an app with these settings."""
    app = Celery("upstream", broker="memory://", set_as_current=False)
    app.conf.celery_health = configuration
    return app


def test_threads_of_a_process_share_the_recorder_of_an_app() -> None:
    """Eight threads that need the recorder at once get one object; another app has another one."""
    app, together = app_with(), Barrier(8)

    def find(_: int) -> Recorder:
        together.wait(10)
        return recorder_of(app)

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(find, range(8)))
    assert len(found) == 1
    assert recorder_of(app_with()) not in found


def test_a_forked_child_gets_its_own_recorder() -> None:
    """The child's recorder has another name and begins at zero: what the parent has counted is the parent's."""
    app = app_with()
    parent = recorder_of(app)
    count(parent, 3)

    def work() -> list[Any]:
        child = recorder_of(app)
        count(child)
        return [child.name, child.pid == os.getpid(), child.ledger.events]

    name, own_pid, events = in_child(work)
    assert name != parent.name
    assert (own_pid, events) == (True, 1)
    assert (recorder_of(app) is parent, parent.ledger.events) == (True, 3)


def test_a_forked_child_does_not_send_the_counts_of_its_parent(recorder: Recorder, store: MemoryStore) -> None:
    """``stop`` of an inherited recorder, which atexit calls in the child, neither sends nor closes anything."""
    count(recorder)
    recorder.start()

    def work() -> list[int]:
        recorder.stop()
        return [len(store.tried), store.closed]

    assert in_child(work) == [0, 0]


def test_two_recorders_of_a_process_have_different_names(make_recorder: Callable[..., Recorder]) -> None:
    """Two hosts may share host name and process id: a random part tells them apart."""
    names = {make_recorder().name for _ in range(3)}
    assert len(names) == 3
    assert len({name.rpartition(":")[0] for name in names}) == 1


def test_wrong_settings_are_logged_once_and_never_raised(caplog: pytest.LogCaptureFixture) -> None:
    """Without a recorder an internal error becomes one warning per app that names the wrong setting."""
    app = app_with(max_customers="many")
    for _ in range(2):
        record_internal_error(app)
    assert caplog.text.count("attempts may go uncounted; the jobs are not affected: max_customers='many'") == 1


def test_a_task_registered_again_is_inspected_again() -> None:
    """The customer is found by the signature of the task that runs, not of an earlier one of its name."""

    def first(customer_id: str, other: str) -> None: ...
    def second(other: str, customer_id: str) -> None: ...

    apps = [Celery(set_as_current=False) for _ in range(2)]
    tasks = [app._task_from_fun(run, name="job") for app, run in zip(apps, (first, second), strict=True)]
    recorder = Recorder(Settings(), None)
    assert [recorder.finder(task).find(["a", "b"], {}) for task in (*tasks, tasks[0])] == ["a", "b", "a"]
