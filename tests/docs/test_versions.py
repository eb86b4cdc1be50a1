"""The supported versions in documents, tox and setup.cfg agree."""

from __future__ import annotations

import re
from configparser import ConfigParser

from celery_health_bp.versions import NEWEST_TESTED
from tests.support.processes import ROOT
from tests.support.versions import DIFFERENCES, OLDEST_TESTED

#: Difference -> the test that covers it.
TESTS = {
    "wrapped_exceptions": "test_a_wrapped_exception_is_counted_as_what_the_job_raised",
    "unpicklable_by_name": "test_outcomes.py, row unpicklable",
    "exits_reported": "test_outcomes.py, rows sys_exit, interrupt and odd",
    "pool_implementation": "test_the_pool_is_named_if_celery_reports_it",
    "filesystem_broadcast": "test_workers_on_a_file_system_can_be_asked; test_control_store.py",
    "cold_shutdown_reports": "test_outcomes.py, shutdowns",
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
    """The table of differences and the table of tests have the same entries."""
    assert TESTS.keys() == DIFFERENCES.keys()


def test_the_tested_versions_are_those_of_tox() -> None:
    """tox.ini has every minor version from the oldest to the newest tested one."""
    minors = {int(minor) for minor in re.findall(r"celery5(\d):", (ROOT / "tox.ini").read_text())}
    assert minors == set(range(OLDEST_TESTED[1], NEWEST_TESTED[1] + 1))


def test_the_guide_lists_all_differences() -> None:
    """The table in docs/versions.md equals ``DIFFERENCES``."""
    page = (ROOT / "docs" / "versions.md").read_text()
    rows = [f"| {since[0]}.{since[1]} | {what} | {here} |" for since, what, here in DIFFERENCES.values()]
    assert page.partition("| since |")[2].splitlines()[2:] == rows


def test_the_guide_lists_the_pythons_of_each_celery() -> None:
    """docs/versions.md lists exactly the combinations of Celery and Python that tox runs."""
    page = (ROOT / "docs" / "versions.md").read_text()
    promised = {
        f"py3{python}-celery5{celery}"
        for names, pythons in re.findall(r"^\| (5\.\d[^|]*) \| (3[^|]*) \|", page, re.MULTILINE)
        for celery in re.findall(r"5\.(\d)", names)
        for python in re.findall(r"3\.(\d+)", pythons)
    }
    run = re.findall(r"^    (py\d+)-celery\{([\d,]+)\}$", (ROOT / "tox.ini").read_text(), re.MULTILINE)
    assert promised == {f"{python}-celery{celery}" for python, minors in run for celery in minors.split(",")}


def test_the_lowest_environment_pins_every_lower_bound() -> None:
    """The environment ``lowest`` of tox.ini pins each package to its lower bound in setup.cfg."""
    setup, tox = ConfigParser(), (ROOT / "tox.ini").read_text()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    required = [setup["options"]["install_requires"], *(extras[name] for name in ("redis", "django", "test"))]
    bounds = dict(re.findall(r"([\w-]+) >= ([\d.]+)", "\n".join(required)))
    pins = dict(re.findall(r"^    ([\w-]+) == ([\d.]+?)(?:\.\*)?$", tox.partition("-lowest]")[2], re.MULTILINE))
    assert {name: pins.get(name) for name in bounds} == bounds
