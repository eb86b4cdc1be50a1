"""Differences between versions of Celery: what the installed one does is what the table says."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import closing

import celery
import pytest
from billiard.einfo import ExceptionInfo
from billiard.pool import MaybeEncodingError
from celery import Celery
from celery.concurrency.base import BasePool
from celery.concurrency.gevent import TaskPool as GeventPool
from celery.worker.request import Request
from kombu.transport.filesystem import Transport as FilesystemTransport

from celery_health_bp import CeleryHealth, Settings
from celery_health_bp.counting.outcomes import Outcome, outcome_of
from celery_health_bp.versions import NEWEST_TESTED, class_name, warn_if_untested
from tests.support.versions import DIFFERENCES, OLDEST_TESTED


@pytest.mark.parametrize(
    ("value", "name"), [("<ExceptionInfo: Unpicklable('lock')>", "Unpicklable"), ("", "MaybeEncodingError")]
)
def test_an_exception_that_arrives_as_text_keeps_its_name(value: str, name: str) -> None:
    """The pool of Celery 5.2 sends an unpicklable exception as text; the class name is parsed from it if possible."""
    assert class_name(MaybeEncodingError("cannot pickle", value)) == name


def test_a_wrapped_exception_is_counted_as_what_the_job_raised() -> None:
    """billiard wraps an exception from the version that the table gives, and it is counted under its own class."""
    try:
        raise KeyError("missing")
    except KeyError:
        handed_over = ExceptionInfo().exception
    assert (type(handed_over) is not KeyError) is DIFFERENCES["wrapped_exceptions"].holds
    assert outcome_of(handed_over) == Outcome("failed", "KeyError")


def test_a_greenlet_can_be_ended() -> None:
    """Celery's gevent pool implements ``terminate_job`` from the version that the table gives."""
    assert (GeventPool.terminate_job is not BasePool.terminate_job) is DIFFERENCES["gevent_terminate"].holds


def test_workers_on_a_file_system_can_be_asked() -> None:
    """kombu's filesystem transport broadcasts from the version that the table gives."""
    found = FilesystemTransport.implements.exchange_type
    assert ("fanout" in found) is DIFFERENCES["filesystem_broadcast"].holds


def test_cancelling_takes_the_argument() -> None:
    """``Request._announce_cancelled`` takes ``emit_retry`` from the version that the table gives."""
    found = inspect.signature(Request._announce_cancelled).parameters
    assert ("emit_retry" in found) is DIFFERENCES["cancelled_with_argument"].holds


# -- a version of Celery that was not tested --


@pytest.fixture(autouse=True)
def _warn_again() -> Iterator[None]:
    """Forget which warnings this process has logged."""
    warn_if_untested.cache_clear()
    yield
    warn_if_untested.cache_clear()


@pytest.mark.parametrize(("newer", "warnings"), [(True, 1), (False, 0)], ids=["newer", "installed"])
def test_the_web_process_warns_once_of_a_newer_celery(
    newer: bool, warnings: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Four checks log one line about a Celery that is newer than all tested ones, and none about a tested one."""
    if newer:
        monkeypatch.setattr(celery, "VERSION", celery.VERSION._replace(minor=99))
        monkeypatch.setattr(celery, "__version__", "5.99.0")
    for _ in range(2):
        app = Celery(broker="memory://", set_as_current=False)
        with closing(CeleryHealth(app, Settings(timeout_seconds=0.05))) as health:
            health.check()
            health.check()
    expected = "Celery 5.99.0 is newer than 5.7, the newest that celery_health_bp was tested with"
    assert caplog.text.count(expected) == caplog.text.count("is newer than") == warnings


def test_the_installed_celery_is_a_tested_one() -> None:
    """The installed version lies between the oldest and the newest that the package names."""
    assert OLDEST_TESTED <= celery.VERSION[:2] <= NEWEST_TESTED
