"""Names of reply queues, and which of them are abandoned."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest

from celery_health_bp.asking.reply_queue import MARGIN_SECONDS, abandon, abandoned, new_name
from tests.support.children import in_child

EXCHANGE = "reply.celery.pidbox"


def abandoned_of(*names: str) -> list[str]:
    """Return which of these names, bound to the exchange, are abandoned."""
    return abandoned(SimpleNamespace(get_table=lambda exchange: [("", "", name) for name in names]), EXCHANGE)


def in_an_hour() -> float:
    """Return the end of a lease that is not over."""
    return time.time() + 3600


def test_a_queue_is_abandoned_when_its_process_stops_using_it() -> None:
    """A name in use is kept until ``abandon``."""
    name = new_name(in_an_hour(), EXCHANGE)
    assert abandoned_of(name) == []
    abandon(name)
    assert abandoned_of(name) == [name]


def test_a_queue_of_a_process_that_has_ended_is_abandoned() -> None:
    """The name holds the process id: on the same host a dead owner is recognised before the lease ends."""
    assert len(abandoned_of(in_child(lambda: new_name(in_an_hour(), EXCHANGE)))) == 1


def test_a_queue_of_a_running_process_is_kept() -> None:
    """Another process of the host that runs may use its queue."""
    name = new_name(in_an_hour(), EXCHANGE)
    abandon(name)
    assert abandoned_of(name.replace(f".{os.getpid()}.", f".{os.getppid()}.")) == []


@pytest.mark.parametrize(("age", "expected"), [(0, 0), (MARGIN_SECONDS - 60, 0), (MARGIN_SECONDS + 60, 1)])
def test_a_queue_of_another_host_is_abandoned_after_its_lease(age: float, expected: int) -> None:
    """Its process id means nothing here, so only the end of the lease counts, and clocks may differ."""
    name = f"celery-health.another0host.1.{int(time.time() - age)}.0123.{EXCHANGE}"
    assert len(abandoned_of(name)) == expected


@pytest.mark.parametrize(
    "name",
    ["a5c.reply.celery.pidbox", "celery-health", "celery-health.host.pid.0.x", "celery-health.host.1.later.x", ""],
)
def test_queues_with_other_names_are_kept(name: str) -> None:
    """Reply queues of Celery, and names of another form, are never deleted."""
    assert abandoned_of(name) == []


def test_names_are_unique_and_end_like_kombus() -> None:
    """Permissions for ``*.reply.celery.pidbox`` cover our queues."""
    names = {new_name(in_an_hour(), EXCHANGE) for _ in range(3)}
    assert len(names) == 3
    for name in names:
        assert name.endswith(f".{EXCHANGE}")
        abandon(name)
