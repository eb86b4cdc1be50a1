"""Copy the repository without the package, so that tests in the copy import the installed wheel.

tox runs ``python tests/support/copied.py TARGET``: the working folder comes before installed
packages on ``sys.path``, in the tests and in the workers that they start.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Generated files, and the package itself.
LEFT_OUT = ("celery_health_bp", "*.egg-info", "build", "dist", "site", ".git", ".tox", ".venv", ".bench", ".*_cache")


def _ignored(folder: str, names: list[str]) -> set[str]:
    patterns = ("__pycache__", *(LEFT_OUT if Path(folder) == ROOT else ()))
    return shutil.ignore_patterns(*patterns)(folder, names)


if __name__ == "__main__":
    shutil.copytree(ROOT, sys.argv[1], ignore=_ignored, dirs_exist_ok=True)
