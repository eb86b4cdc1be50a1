"""Files, targets and names in CONTRIBUTING.md, SECURITY.md and README.md exist."""

from __future__ import annotations

import re
from configparser import ConfigParser

import pytest

from tests.support.processes import ROOT

PAGES = ["CONTRIBUTING.md", "SECURITY.md", "README.md"]


def text(name: str) -> str:
    """Return the text of a file of the repository."""
    return (ROOT / name).read_text()


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_exists(page: str) -> None:
    """Each path in backticks and each link leads to a file or a folder."""
    if not (ROOT / "celery_health_bp").exists():
        pytest.skip("the package is not in tox's copy")
    named = re.findall(r"`((?:celery_health_bp|dashboard|tests|docs|examples|\.ci)/[\w./-]*)`", text(page))
    named += re.findall(r"`([\w.-]+\.(?:cfg|toml|ini|md|yaml))`", text(page))
    linked = re.findall(r"\]\(([^)#:]+)\)", text(page))
    assert named or linked
    assert [name for name in (*named, *linked) if not (ROOT / name).exists()] == []


def test_every_target_of_make_that_is_named_exists() -> None:
    """``make NAME`` in the text is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:`|\$ )make ([a-z-]+)", text("CONTRIBUTING.md"))) <= targets


def test_makefile_and_contributing_agree_on_times() -> None:
    """``make help`` ends each line with the time, and the table here has the same one."""
    helped = re.findall(r"^([a-z-]+):.*## .* \(([^()]+)\)$", text("Makefile"), re.MULTILINE)
    listed = re.findall(r"^\| `make ([a-z-]+)` \| .* \| ([^|]+) \|$", text("CONTRIBUTING.md"), re.MULTILINE)
    targets = set(re.findall(r"^([a-z-]+):.*## ", text("Makefile"), re.MULTILINE)) - {"help", "clean"}
    assert dict(helped) == dict(listed)
    assert set(dict(helped)) == targets


def test_every_name_of_the_code_that_is_named_exists() -> None:
    """Each table of the code, such as ``COMMANDS``, and each function that a list names stands in one of its files."""
    if not (ROOT / "celery_health_bp").exists():
        pytest.skip("the package is not in tox's copy")
    for paths, what in re.findall(r"^\| (`celery_health_bp/.*?) \| (.*) \|$", text("CONTRIBUTING.md"), re.MULTILINE):
        sources = "".join(text(path) for path in re.findall(r"`([\w/]+\.py)`", paths))
        for name in re.findall(r"`([A-Z]+[A-Z_]+|_?[a-z]+_[a-z_]+|[A-Z][a-z]+)`", what):
            assert re.search(rf"\b{name}\b", sources), (paths, name)


def test_each_recipe_is_one_table() -> None:
    """Each section that tells how to add something has one table."""
    for recipe in text("CONTRIBUTING.md").split("\n## Add ")[1:]:
        tables = re.findall(r"^[|-]+$", recipe.partition("\n## ")[0], re.MULTILINE)
        assert len(tables) == 1, recipe.splitlines()[0]


def test_the_environment_that_is_shown_is_one_of_tox() -> None:
    """The command for one environment names factors that tox.ini has."""
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    (shown,) = re.findall(r"tox run -e (\S+)", text("CONTRIBUTING.md"))
    assert f"{shown.partition('-')[2]}:" in tox["testenv:py{310,311,312,313,314}-celery{52,53,54,55,56,57}"]["deps"]
