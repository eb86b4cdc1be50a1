"""Errors of brokers that need no server."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery
from flask import Flask

from tests.support.probes import probe


def test_a_sentinel_broker_needs_the_name_of_a_master(make_app: Callable[..., Flask]) -> None:
    """The error says that the name is missing, and the advice where to set it."""
    found = probe(make_app(Celery(broker="sentinel://127.0.0.1:1", set_as_current=False), metrics_store="control"))
    assert found.error == "Broker sentinel://127.0.0.1:1 (master not named) needs the name of a master"
    assert found.advice == "Set broker_transport_options = {'master_name': NAME}"
