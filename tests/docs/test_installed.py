"""The copy of the package under test."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import celery_health_bp
from tests.support.processes import ROOT


def imported_by(folder: Path) -> Path:
    """Return where a process in this folder, as workers are, imports the package from."""
    code = "import celery_health_bp; print(celery_health_bp.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=30, check=True
    )
    return Path(done.stdout.strip()).parent


def test_the_expected_copy_of_the_package_is_tested() -> None:
    """In tox, tests and workers import the wheel, and no checkout is in reach; otherwise they import the checkout."""
    wheel = os.environ.get("TESTED_PACKAGE") == "wheel"
    expected = (Path(sysconfig.get_path("purelib")) if wheel else ROOT) / "celery_health_bp"
    assert Path(celery_health_bp.__file__).parent == expected
    assert imported_by(ROOT) == expected
    assert (ROOT / "celery_health_bp").exists() != wheel
