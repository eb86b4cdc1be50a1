"""Values of ``customer_id``: whatever a job carries, the exposition stays sound and bounded."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import Celery
from celery.exceptions import Retry, WorkerShutdown, WorkerTerminate
from gevent import GreenletExit
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from celery_health_bp import Settings
from celery_health_bp.counting.customers import CustomerFinder, label_value
from celery_health_bp.counting.ledger import MAX_EVENTS, Ledger
from celery_health_bp.counting.outcomes import COMPLETED, STARTED, outcome_of
from celery_health_bp.counting.recorder import Recorder
from celery_health_bp.counts import MAX_ERROR_TYPES, Counts, Series
from celery_health_bp.stores import MAX_BATCH, RedisStore
from celery_health_bp.web.collector import job_families

from .exposition import JOB, Exposition
from .servers import RedisServer


def test_a_task_registered_anew_is_looked_at_anew() -> None:
    """The customer is found by the signature of the task that runs, not of an earlier one of its name."""

    def first(customer_id: str, other: str) -> None: ...
    def second(other: str, customer_id: str) -> None: ...

    apps = [Celery(set_as_current=False) for _ in range(2)]
    tasks = [app._task_from_fun(run, name="job") for app, run in zip(apps, (first, second), strict=True)]
    recorder = Recorder(Settings(), None)
    assert [recorder.finder(task).find(["a", "b"], {}) for task in (*tasks, tasks[0])] == ["a", "b", "a"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for all examples; each takes a prefix of its own."""
    redis = RedisServer(tmp_path_factory.mktemp("labels"))
    yield redis
    redis.stop()


class Hostile(str):
    """A string that cannot even be turned into one."""

    def __str__(self) -> str:
        raise RuntimeError("no")


anything = st.one_of(
    st.text(st.characters(codec=None, exclude_categories=())),
    st.sampled_from(
        [
            "",
            "\n",
            '"',
            "\\",
            "\\n",
            "\0",
            "\ud800",
            "a\udfffb",
            "__name__",
            "x" * 1_000_000,
            "\r\n# EOF",
            "other",
            '"} 1',
        ]
    ),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.binary(),
    st.uuids(),
    st.lists(st.integers()),
    st.dictionaries(st.text(), st.integers()),
    st.sampled_from([10**5000, Hostile("x"), object()]),
)


class Fixed(Collector):
    """A collector of families made before."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """The families."""
        return self._families


def exposed(server: RedisServer, customers: list[str], **settings: Any) -> Exposition:
    """The exposition of one start for each customer, through ledger, Redis and text format."""
    made = Settings(metrics_key_prefix=uuid4().hex, **settings)
    ledger = Ledger(made.duration_buckets_seconds, 10 * made.max_customers)
    for customer in customers:
        ledger.count(STARTED, "job", customer)
    store = RedisStore.from_url(server.url, Celery("upstream", broker=server.url), made)
    store.add("writer", 1, ledger.take())
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Fixed(list(job_families([(None, store.totals())], "upstream", made.duration_buckets_seconds))))
    store.close()
    return Exposition(generate_latest(registry).decode())


@settings(deadline=None)  # it waits for Redis
@given(values=st.lists(anything, max_size=12))
def test_no_value_breaks_or_grows_the_exposition(server: RedisServer, values: list[Any]) -> None:
    """Any value comes back through Prometheus's own parser as one short label, and no attempt is lost."""
    labels = [label_value(value) for value in values]
    found = {labels["customer_id"]: number for labels, number in exposed(server, labels).series(f"{JOB}_started_total")}
    assert found == {label: labels.count(label) for label in labels}
    assert all(len(label) <= 64 for label in found)


@settings(deadline=None)
@given(customers=st.lists(st.sampled_from([f"c{number}" for number in range(8)]), max_size=40))
def test_the_cap_holds_for_any_order_of_customers(server: RedisServer, customers: list[str]) -> None:
    """With a cap of three at most three names appear beside ``other``, and no attempt is lost."""
    found = exposed(server, customers, max_customers=3)
    names = {labels["customer_id"] for labels, _ in found.series(f"{JOB}_started_total")}
    assert len(names - {"other"}) <= 3
    assert found.total(f"{JOB}_started_total") == len(customers)


def generated(numbers: Iterable[int]) -> Iterator[BaseException]:
    """Exceptions, each of a class of its own."""
    return (type(f"Error{number}", (Exception,), {})() for number in numbers)


def counts_of(errors: Iterable[BaseException], factor: int) -> Counts:
    """What a process sends that fails with these, and then asks for a retry because of each."""
    ledger = Ledger((1.0,), 1000, MAX_ERROR_TYPES * factor)
    for error in errors:
        ledger.count(outcome_of(error), "job", "acme")
        ledger.count(outcome_of(Retry(exc=error)), "job", "acme")
    return ledger.take()


def number_of_types(counts: Counts) -> dict[str, int]:
    """Kind -> how many error types it has."""
    return dict(Counter(series.kind for series in counts.counters))


def test_the_number_of_error_types_is_capped_in_the_fleet(server: RedisServer) -> None:
    """2,000 generated classes of two workers are 100 types of their own and ``other``, and no attempt is lost."""
    made = Settings(metrics_key_prefix=uuid4().hex)
    store = RedisStore.from_url(server.url, Celery("upstream", broker=server.url), made)
    for writer, numbers in (("one", range(1000)), ("two", range(500, 1500)), ("three", range(1000, 2000))):
        for sequence, part in enumerate(counts_of(generated(numbers), 10).parts(MAX_BATCH), 1):
            store.add(writer, sequence, part)
    found = store.totals()
    store.close()
    assert number_of_types(found) == {"failed": MAX_ERROR_TYPES + 1, "retried": MAX_ERROR_TYPES + 1}
    assert sum(found.counters.values()) == 6000
    assert found.counters["failed", "job", "Error0", "acme"] == 1
    assert found.counters["failed", "job", "other", "acme"] == 3000 - MAX_ERROR_TYPES


def test_a_batch_in_which_every_name_is_new_is_added(server: RedisServer) -> None:
    """The largest batch, each of its counters with a task, an error type and a customer of its own, is added whole."""
    made = Settings(metrics_key_prefix=uuid4().hex)
    store = RedisStore.from_url(server.url, Celery("upstream", broker=server.url), made)
    numbers = range(MAX_BATCH)
    counts = Counts(Counter({Series("failed", f"job{n}", f"Error{n}", f"customer{n}"): 1 for n in numbers}))
    store.add("writer", 1, counts)
    found = store.totals()
    store.close()
    assert found == counts


def test_the_number_of_error_types_is_capped_in_a_worker_without_a_store() -> None:
    """The types that come first keep their name, as often as they come; every further one is ``other``."""
    found = counts_of([*generated(range(2000)), *generated(range(50))], 1)
    assert number_of_types(found) == {"failed": MAX_ERROR_TYPES + 1, "retried": MAX_ERROR_TYPES + 1}
    assert found.counters["failed", "job", "Error49", "acme"] == 2
    assert found.counters["retried", "job", "other", "acme"] == 2000 - MAX_ERROR_TYPES


def test_a_signal_handler_that_counts_while_events_are_summed_up_loses_none() -> None:
    """Whatever a handler interrupts that counts more than may wait: every event is there."""
    ledger, handled, counted = Ledger((1.0,), 10), 0, 0

    def handle(*_: Any) -> None:
        nonlocal handled
        handled += 1
        for _ in range(MAX_EVENTS):
            ledger.count(COMPLETED, "task", "123", 0.5)
        if handled < 50:  # endless interruptions would leave a slow machine no time for its own events
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.001)

    before = signal.signal(signal.SIGVTALRM, handle)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.001)
    try:
        while handled < 50:
            ledger.count(COMPLETED, "task", "123", 0.5)
            counted += 1
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert ledger.take().counters.total() == counted + handled * MAX_EVENTS


def test_long_names_are_cut() -> None:
    """A class name of 1 MB and a task name of 1 MB make short labels, the same ones each time."""
    ledger = Ledger((1.0,), 10)
    error = type("E" * 1_000_000, (Exception,), {})()
    for _ in range(2):
        ledger.count(outcome_of(error), "t" * 1_000_000, "acme")
    assert ledger.take().counters == {("failed", "t" * 255, "E" * 64, "acme"): 2}


class TestTask:
    """Stands for a task: the finder asks for its name and its function."""

    __test__ = False
    name = "job"

    def __init__(self, run: Any) -> None:
        self.run = run


UUID_VALUE = UUID("12345678123456781234567812345678")

FOUND = [
    (lambda customer_id: None, (7,), {}, "7"),
    (lambda first, customer_id=None: None, (1, "acme"), {}, "acme"),
    (lambda first, customer_id="usual": None, (1,), {}, "usual"),
    (lambda *, customer_id: None, (), {"customer_id": UUID_VALUE}, str(UUID_VALUE)),
    (lambda **kwargs: None, (), {"customer_id": "by name"}, "by name"),
    (lambda *args: None, ("customer",), {}, "unknown"),
    (lambda first: None, (1,), {}, "unknown"),
    (lambda customer_id: None, (), {}, "unknown"),
    (lambda customer_id: None, ({"a": 1},), {}, "unknown"),
    (lambda customer_id: None, None, None, "unknown"),
]


@pytest.mark.parametrize(("run", "args", "kwargs", "expected"), FOUND)
def test_the_customer_is_found_through_the_signature(run: Any, args: Any, kwargs: Any, expected: str) -> None:
    """Positional, keyword and default values are found; what is no customer is ``unknown``."""
    assert CustomerFinder(TestTask(run), Settings()).find(args, kwargs) == expected


class DeadlyText(str):
    """A string that ends the process when it is turned into one."""

    def __str__(self) -> str:
        raise SystemExit


class DeadlyList(list[Any]):
    """Arguments that end the process when they are counted."""

    def __len__(self) -> int:
        raise SystemExit


class DeadlyDict(dict[str, Any]):
    """Arguments that end the process when they are looked at."""

    def __contains__(self, key: object) -> bool:
        raise SystemExit


@pytest.mark.parametrize(("args", "kwargs"), [([DeadlyText()], {}), (DeadlyList(), {}), ([], DeadlyDict())])
def test_no_argument_can_end_the_process(args: Any, kwargs: Any) -> None:
    """Arguments whose own methods raise SystemExit count as unknown."""
    assert CustomerFinder(TestTask(lambda customer_id: None), Settings()).find(args, kwargs) == "unknown"


@pytest.mark.parametrize("error", [KeyboardInterrupt, WorkerShutdown, WorkerTerminate, GreenletExit])
def test_what_ends_the_process_or_the_greenlet_is_not_held_up(error: type[BaseException]) -> None:
    """Ctrl-C, a signal's shutdown and the killing of a greenlet get through a resolver in which they arrive."""

    def interrupted(task: Any, args: Any, kwargs: Any) -> Any:
        raise error

    with pytest.raises(error):
        CustomerFinder(TestTask(lambda: None), Settings(customer_resolver=interrupted)).find((), {})


def test_no_customer_argument_turns_the_value_off() -> None:
    """With ``customer_argument=None`` the label is empty."""
    finder = CustomerFinder(TestTask(lambda customer_id: None), Settings(customer_argument=None))
    assert finder.find(("acme",), {}) == ""


def customer_of_order(task: Any, args: Any, kwargs: Any) -> Any:
    """A ``customer_resolver``; raises where there is no order."""
    return kwargs["order"]["customer"]


@pytest.mark.parametrize("given_as", ["mapping", "environment"])
def test_a_resolver_is_given_as_a_dotted_path(given_as: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a resolver is imported from a mapping and from the environment alike."""
    path = f"{__name__}.customer_of_order"
    if given_as == "environment":
        monkeypatch.setenv("CELERY_HEALTH_CUSTOMER_RESOLVER", path)
    settings = Settings.from_mapping({"customer_resolver": path} if given_as == "mapping" else {})
    finder = CustomerFinder(TestTask(lambda order: None), settings)
    assert finder.find((), {"order": {"customer": "acme"}}) == "acme"
    assert finder.find((), {}) == "unknown"
