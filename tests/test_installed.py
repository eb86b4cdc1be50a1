"""Which copy of the package is under test."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from .processes import ROOT

pytestmark = pytest.mark.skipif(
    os.environ.get("TESTED_PACKAGE") != "wheel", reason="tox says so when it is the wheel; else it is the checkout"
)


def imported_by(folder: Path) -> Path:
    """Where a process that is started in this folder, as workers are, imports the package from."""
    code = "import celery_health_bp; print(celery_health_bp.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=30, check=True
    )
    return Path(done.stdout.strip()).parent


def test_the_wheel_is_under_test_here_and_in_worker_processes() -> None:
    """The package is that of ``site-packages``, with the wheel's record, and the checkout is not in reach."""
    import celery_health_bp

    installed = Path(sysconfig.get_path("purelib")) / "celery_health_bp"
    assert Path(celery_health_bp.__file__).parent == installed
    assert imported_by(ROOT) == installed
    assert not (ROOT / "celery_health_bp").exists()
