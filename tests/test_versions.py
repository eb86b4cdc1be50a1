"""What differs between versions of Celery is there from the version that the table says, and a newer one is told of."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from configparser import ConfigParser

import celery
import pytest
from billiard.einfo import ExceptionInfo
from celery import Celery
from celery.concurrency.base import BasePool
from celery.concurrency.gevent import TaskPool as GeventPool
from celery.worker.request import Request
from flask import Flask
from kombu.transport.filesystem import Transport as FilesystemTransport

from celery_health_bp.counting.outcomes import Outcome, outcome_of
from celery_health_bp.versions import DIFFERENCES, NEWEST_TESTED, OLDEST_TESTED

from .probes import probe
from .processes import ROOT, Worker
from .servers import RedisServer

#: Differences whose consequence is a row or a cell of another test.
TESTS = {
    "wrapped_exceptions": "test_a_wrapped_exception_is_counted_as_what_the_job_raised",
    "unpicklable_by_name": "test_outcomes.py, row unpicklable",
    "exits_reported": "test_outcomes.py, rows sys_exit, interrupt and odd",
    "pool_implementation": "test_the_pool_is_named_where_the_worker_names_it",
    "filesystem_broadcast": "test_workers_on_a_file_system_can_be_asked; test_control_store.py",
    "cold_shutdown_tells": "test_outcomes.py, shutdowns",
    "gevent_terminate": "test_a_greenlet_can_be_ended; test_outcomes.py, row terminated",
    "cold_shutdown_cancels": "test_outcomes.py, shutdowns",
    "soft_shutdown": "test_late_results.py",
    "cancelled_with_argument": "test_cancelling_takes_the_argument; test_outcomes.py, cancelled",
    "handlers_after_the_end": "test_outcomes.py, rows on_success_raises and after_return_raises",
    "lost_after_success": "test_late_results.py",
    "retry_on_worker_lost": "test_late_results.py",
    "solo_quits": "test_outcomes.py, shutdowns",
    "beat_remote_control": "test_fleet.py, test_beat_is_no_worker_and_costs_no_time",
}


def test_every_difference_has_its_test() -> None:
    """The table has no entry without a test, and no test is left of an entry that went."""
    assert TESTS.keys() == DIFFERENCES.keys()


def test_a_wrapped_exception_is_counted_as_what_the_job_raised() -> None:
    """What billiard makes of an exception is wrapped or not as the table says, and counts under its own class."""
    try:
        raise KeyError("missing")
    except KeyError:
        handed_over = ExceptionInfo().exception
    assert (type(handed_over) is not KeyError) is DIFFERENCES["wrapped_exceptions"].holds
    assert outcome_of(handed_over) == Outcome("failed", "KeyError")


def test_the_pool_is_named_where_the_worker_names_it(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """The details of a worker hold its pool's name, or null where its Celery does not tell."""
    start_worker(redis.url, pool="solo")
    found = probe(make_app(celery_app))
    expected = "solo" if DIFFERENCES["pool_implementation"].holds else None
    assert [worker["pool"] for worker in found.body["details"]["workers"]] == [expected]


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


def test_the_tested_versions_are_those_of_tox() -> None:
    """tox.ini names every minor from the oldest to the newest tested one."""
    minors = {int(minor) for minor in re.findall(r"celery5(\d):", (ROOT / "tox.ini").read_text())}
    assert minors == set(range(OLDEST_TESTED[1], NEWEST_TESTED[1] + 1))


def test_the_guide_lists_every_difference() -> None:
    """The table of docs/versions.md is that of the package."""
    page = (ROOT / "docs" / "versions.md").read_text()
    rows = [f"| {since[0]}.{since[1]} | {what} | {here} |" for since, what, here in DIFFERENCES.values()]
    assert page.partition("| since |")[2].splitlines()[2:] == rows


def test_the_guide_lists_the_pythons_of_each_celery() -> None:
    """docs/versions.md promises the combinations that tox runs, all of them and no others."""
    page = (ROOT / "docs" / "versions.md").read_text()
    promised = {
        f"py3{python}-celery5{celery}"
        for names, pythons in re.findall(r"^\| (5\.\d[^|]*) \| (3[^|]*) \|", page, re.MULTILINE)
        for celery in re.findall(r"5\.(\d)", names)
        for python in re.findall(r"3\.(\d+)", pythons)
    }
    run = re.findall(r"^    (py\d+)-celery\{([\d,]+)\}$", (ROOT / "tox.ini").read_text(), re.MULTILINE)
    assert promised == {f"{python}-celery{celery}" for python, minors in run for celery in minors.split(",")}


def test_the_lowest_environment_has_every_lower_bound() -> None:
    """The environment lowest of tox.ini pins each package to the bound that setup.cfg gives it."""
    setup, tox = ConfigParser(), (ROOT / "tox.ini").read_text()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    required = [setup["options"]["install_requires"], *(extras[name] for name in ("redis", "django", "test"))]
    bounds = dict(re.findall(r"([\w-]+) >= ([\d.]+)", "\n".join(required)))
    pins = dict(re.findall(r"^    ([\w-]+) == ([\d.]+?)(?:\.\*)?$", tox.partition("-lowest]")[2], re.MULTILINE))
    assert {name: pins.get(name) for name in bounds} == bounds


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


def test_a_newer_celery_is_told_of_once_by_a_worker(redis: RedisServer, start_worker: Callable[..., Worker]) -> None:
    """A worker with a newer Celery starts, logs one line, and runs and counts jobs all the same."""
    worker = start_worker(redis.url, app="tests.newer_jobs:app")
    Celery(broker=redis.url).send_task("tests.jobs.work", kwargs={"customer_id": "acme"})
    worker.wait_for("tests.jobs.work.* succeeded")
    worker.end()
    assert worker.output().count(WARNING) == 1
    assert b"acme" in b"".join(redis.client().hkeys("{celery_health}:totals"))


def test_the_installed_celery_is_one_of_those_tested() -> None:
    """These tests run with a version from the oldest to the newest that the package names."""
    assert OLDEST_TESTED <= celery.VERSION[:2] <= NEWEST_TESTED
