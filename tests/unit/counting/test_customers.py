"""The customer of an attempt: from its arguments, by the task's signature or a resolver."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from celery.exceptions import WorkerShutdown, WorkerTerminate
from gevent import GreenletExit

from celery_health_bp import Settings
from celery_health_bp.counting.customers import CustomerFinder


def test_a_function_without_a_signature_has_no_customer() -> None:
    """The customer of a callable without a signature is ``unknown``."""
    task = SimpleNamespace(name="odd", run=SimpleNamespace(__signature__="none"))
    assert CustomerFinder(task, Settings()).find(("acme",), {}) == "unknown"


class TestTask:
    """A task as the finder sees it: a name and a function."""

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
    """Positional, keyword and default values are found; everything else is ``unknown``."""
    assert CustomerFinder(TestTask(run), Settings()).find(args, kwargs) == expected


class DeadlyText(str):
    """A string whose conversion raises SystemExit."""

    def __str__(self) -> str:
        raise SystemExit


class DeadlyList(list[Any]):
    """A list whose length raises SystemExit."""

    def __len__(self) -> int:
        raise SystemExit


class DeadlyDict(dict[str, Any]):
    """A mapping whose lookup raises SystemExit."""

    def __contains__(self, key: object) -> bool:
        raise SystemExit


@pytest.mark.parametrize(("args", "kwargs"), [([DeadlyText()], {}), (DeadlyList(), {}), ([], DeadlyDict())])
def test_no_argument_can_end_the_process(args: Any, kwargs: Any) -> None:
    """SystemExit from a method of an argument makes the customer ``unknown``."""
    assert CustomerFinder(TestTask(lambda customer_id: None), Settings()).find(args, kwargs) == "unknown"


@pytest.fixture
def _ctrl_c_raises() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where a shell has started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("error", [KeyboardInterrupt, WorkerShutdown, WorkerTerminate, GreenletExit])
@pytest.mark.usefixtures("_ctrl_c_raises")
def test_shutdown_exceptions_pass_through_a_resolver(error: type[BaseException]) -> None:
    """Ctrl-C, a shutdown by signal and the end of a greenlet are raised, not taken for errors of the resolver."""

    def interrupted(task: Any, args: Any, kwargs: Any) -> Any:
        raise error

    with pytest.raises(error):
        CustomerFinder(TestTask(lambda: None), Settings(customer_resolver=interrupted)).find((), {})


def test_without_customer_argument_the_value_is_empty() -> None:
    """With ``customer_argument=None`` the value of the label is empty."""
    finder = CustomerFinder(TestTask(lambda customer_id: None), Settings(customer_argument=None))
    assert finder.find(("acme",), {}) == ""


def customer_of_order(task: Any, args: Any, kwargs: Any) -> Any:
    """Resolve the customer; raise KeyError if there is no order."""
    return kwargs["order"]["customer"]


@pytest.mark.parametrize("given_as", ["mapping", "environment"])
def test_a_resolver_is_given_as_a_dotted_path(given_as: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dotted path in a mapping or in the environment is imported."""
    path = f"{__name__}.customer_of_order"
    if given_as == "environment":
        monkeypatch.setenv("CELERY_HEALTH_CUSTOMER_RESOLVER", path)
    settings = Settings.from_mapping({"customer_resolver": path} if given_as == "mapping" else {})
    finder = CustomerFinder(TestTask(lambda order: None), settings)
    assert finder.find((), {"order": {"customer": "acme"}}) == "acme"
    assert finder.find((), {}) == "unknown"
