"""Which copy of the package is under test."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import celery_health_bp
from tests.support.processes import ROOT


def imported_by(folder: Path) -> Path:
    """Where a process that is started in this folder, as workers are, imports the package from."""
    code = "import celery_health_bp; print(celery_health_bp.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=30, check=True
    )
    return Path(done.stdout.strip()).parent


def test_the_package_under_test_is_the_one_that_is_said() -> None:
    """tox tests the wheel in ``site-packages`` and no checkout is in reach; else it is the checkout; in workers too."""
    wheel = os.environ.get("TESTED_PACKAGE") == "wheel"
    expected = (Path(sysconfig.get_path("purelib")) if wheel else ROOT) / "celery_health_bp"
    assert Path(celery_health_bp.__file__).parent == expected
    assert imported_by(ROOT) == expected
    assert (ROOT / "celery_health_bp").exists() != wheel
