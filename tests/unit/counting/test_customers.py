"""What hardly ever happens is answered all the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from celery.exceptions import WorkerShutdown, WorkerTerminate
from gevent import GreenletExit

from celery_health_bp import Settings
from celery_health_bp.counting.customers import CustomerFinder


def test_a_function_without_a_signature_has_no_customer() -> None:
    """A task whose arguments cannot be known counts for nobody."""
    task = SimpleNamespace(name="odd", run=SimpleNamespace(__signature__="none"))
    assert CustomerFinder(task, Settings()).find(("acme",), {}) == "unknown"


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
