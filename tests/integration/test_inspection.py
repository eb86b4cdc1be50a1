"""A worker whose reply to ``stats`` is an error."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery

from celery_health_bp import CeleryHealth
from tests.support.nodes import REPLIES, ScriptedNode


@pytest.fixture
def health(celery_app: Celery, make_health: Callable[..., CeleryHealth]) -> CeleryHealth:
    """Return health without a cache."""
    return make_health(celery_app, cache_seconds=0)


def test_a_worker_without_stats_is_listed(celery_app: Celery, health: CeleryHealth) -> None:
    """A worker whose ``stats`` fails, as with a broken boot step, replies to the other commands and is listed."""
    others = {command: reply for command, reply in REPLIES.items() if command != "stats"}
    with ScriptedNode(celery_app, "a@t", others):
        assert [health.check().active_workers for _ in range(2)] == [("a@t",)] * 2
