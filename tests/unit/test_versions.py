"""What hardly ever happens is answered all the same."""

from __future__ import annotations

import inspect
import subprocess
import sys

import celery
import pytest
from billiard.einfo import ExceptionInfo
from billiard.pool import MaybeEncodingError
from celery.concurrency.base import BasePool
from celery.concurrency.gevent import TaskPool as GeventPool
from celery.worker.request import Request
from kombu.transport.filesystem import Transport as FilesystemTransport

from celery_health_bp.counting.outcomes import Outcome, outcome_of
from celery_health_bp.versions import DIFFERENCES, NEWEST_TESTED, OLDEST_TESTED, class_name
from tests.support.processes import ROOT


@pytest.mark.parametrize(
    ("value", "name"), [("<ExceptionInfo: Unpicklable('lock')>", "Unpicklable"), ("", "MaybeEncodingError")]
)
def test_an_exception_that_arrives_as_text_keeps_its_name(value: str, name: str) -> None:
    """The pool of Celery 5.2 sends the text of what could not be pickled: its class is found in it, if it is there."""
    assert class_name(MaybeEncodingError("cannot pickle", value)) == name


def test_a_wrapped_exception_is_counted_as_what_the_job_raised() -> None:
    """What billiard makes of an exception is wrapped or not as the table says, and counts under its own class."""
    try:
        raise KeyError("missing")
    except KeyError:
        handed_over = ExceptionInfo().exception
    assert (type(handed_over) is not KeyError) is DIFFERENCES["wrapped_exceptions"].holds
    assert outcome_of(handed_over) == Outcome("failed", "KeyError")


def test_a_greenlet_can_be_ended() -> None:
    """Celery's gevent pool implements terminate_job as the table says."""
    assert (GeventPool.terminate_job is not BasePool.terminate_job) is DIFFERENCES["gevent_terminate"].holds


def test_workers_on_a_file_system_can_be_asked() -> None:
    """kombu's filesystem transport broadcasts as the table says."""
    found = FilesystemTransport.implements.exchange_type
    assert ("fanout" in found) is DIFFERENCES["filesystem_broadcast"].holds


def test_cancelling_takes_the_argument() -> None:
    """Celery's Request is told whether to send a retry as the table says."""
    found = inspect.signature(Request._announce_cancelled).parameters
    assert ("emit_retry" in found) is DIFFERENCES["cancelled_with_argument"].holds


# -- a Celery that nobody has tested --

NEWER = "import celery; celery.VERSION = celery.VERSION._replace(minor=99); celery.__version__ = '5.99.0'"
WARNING = "is newer than 5.7, the newest that celery_health_bp was tested with"
CHECKS = """
from celery import Celery
from celery_health_bp import CeleryHealth, Settings
for _ in range(2):
    health = CeleryHealth(lambda: Celery(broker="memory://"), Settings(timeout_seconds=0.1))
    health.check()
    health.check()
"""


@pytest.mark.parametrize(("before", "warnings"), [(NEWER, 1), ("", 0)], ids=["newer", "installed"])
def test_a_newer_celery_is_told_of_once_by_the_web_part(before: str, warnings: int) -> None:
    """However many checks a process makes, it logs one line about a newer Celery, and none about a tested one."""
    done = subprocess.run(
        [sys.executable, "-c", before + CHECKS], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.count(WARNING) == warnings, done.stderr


def test_the_installed_celery_is_one_of_those_tested() -> None:
    """These tests run with a version from the oldest to the newest that the package names."""
    assert OLDEST_TESTED <= celery.VERSION[:2] <= NEWEST_TESTED
