"""All stores have the methods of the ``Store`` protocol."""

from __future__ import annotations

import inspect

import pytest

from celery_health_bp.stores import RedisStore, Store
from tests.support.memory_store import MemoryStore

METHODS = [name for name, found in vars(Store).items() if inspect.isfunction(found) and not name.startswith("_")]


@pytest.mark.parametrize("kind", [RedisStore, MemoryStore])
@pytest.mark.parametrize("name", METHODS)
def test_a_store_has_the_signature_of_the_protocol(kind: type[object], name: str) -> None:
    """Each method takes the same arguments with the same defaults, so the tests' store can replace Redis."""
    found = getattr(kind, name)
    assert inspect.signature(found, eval_str=True) == inspect.signature(getattr(Store, name), eval_str=True)
