"""``docs/api.md`` is what the docstrings say now."""

from __future__ import annotations

import re
import runpy
from typing import Any

import pytest

import celery_health_bp
from celery_health_bp import errors
from tests.support.processes import ROOT

pytestmark = pytest.mark.skipif(
    not (ROOT / "celery_health_bp").exists(), reason="the sources are not in tox's copy: they are read here"
)
PAGE = (ROOT / "docs" / "api.md").read_text()


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The names of ``docs/api.py``."""
    return runpy.run_path(str(ROOT / "docs" / "api.py"))


def test_the_page_is_not_stale(script: dict[str, Any]) -> None:
    """``make docs`` would change nothing."""
    assert script["page"]() == PAGE


def test_every_public_name_has_its_part() -> None:
    """``__all__`` and every class of error are on the page."""
    assert set(celery_health_bp.__all__) <= set(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE))
    tree = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert tree == set(re.findall(r"^ *- `(\w+)`: ", PAGE, re.MULTILINE))


def test_no_markup_of_docstrings_is_left() -> None:
    """What the page shows is Markdown: no double backticks, no code without its fence."""
    prose = re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert not re.findall(r"``|::|^ +[^ -]", prose, re.MULTILINE)
