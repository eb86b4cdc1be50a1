"""The documentation as a site: it builds without a warning, holds every page and loads nothing from other hosts."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import celery_health_bp
from celery_health_bp import django, errors, report
from tests.support.processes import ROOT

pytestmark = pytest.mark.xdist_group("site")  # each process would build the site again

URL = "https://git.example/group/celery_health_bp"
#: Fault in a page -> warning.
FAULTS = {
    "[gone](gone.md)": "contains a link 'gone.md', but",
    "[gone](flask.md#gone)": "does not contain an anchor '#gone'",
    "[gone](/flask/)": "absolute link '/flask/'",
    "[gone](../gone.md)": "contains a link '../gone.md', but",
}


def mkdocs(sources: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of these sources strictly."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    environ = {**os.environ, "PYTHONPATH": str(Path(celery_health_bp.__file__).parents[1])}
    return subprocess.run(command, cwd=sources, env=environ, capture_output=True, text=True, timeout=100)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the repository."""
    folder = tmp_path_factory.mktemp("site")
    done = mkdocs(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The site of a project with a public address, a faulty page and a page outside the navigation; and its build."""
    folder = tmp_path_factory.mktemp("changed")
    for name in ("docs", "release", "benchmarks", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.pyc"))
    for path in (*ROOT.glob("*.md"), ROOT / "mkdocs.yml"):
        shutil.copy(path, folder)
    setup = (ROOT / "setup.cfg").read_text()
    (folder / "setup.cfg").write_text(setup.replace("[metadata]\n", f"[metadata]\nurl = {URL}/\n"))
    faults = "\n\n".join([*FAULTS, "[example](../examples/demo.py)", "[the README](../README.md#metrics)"])
    (folder / "docs" / "wsgi.md").write_text(f"# Faults\n\n{faults}\n")
    (folder / "docs" / "alone.md").write_text("# Alone\n")
    return folder / "site", mkdocs(folder, folder / "site")


def article(site: Path, page: str) -> str:
    """The HTML of a page, without what surrounds the text."""
    text = (site / page / "index.html").read_text()
    return text[text.index("<article") : text.index("</article>")]


# -- pages --


def nav_pages(nav: Any) -> list[str]:
    """Every page below a part of the navigation."""
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in nav_pages(part)]


def test_every_page_is_in_the_navigation_once() -> None:
    """The pages below docs/, the benchmarks, the changelog, CONTRIBUTING and SECURITY."""
    below = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    beside = {"CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md", "benchmarks/RESULTS.md"}
    listed = nav_pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(listed) == sorted(below | beside)


def test_every_page_is_built(site: Path) -> None:
    """Pages are HTML with a heading, the charts of the benchmarks are there, and templates are not."""
    for page in nav_pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]):
        folder = page.removesuffix("README.md").removesuffix(".md")
        assert "<h1" in article(site, folder), page
    assert {path.name for path in (site / "benchmarks").glob("*.png")} == {
        path.name for path in (ROOT / "benchmarks").glob("*.png")
    }
    assert not (site / "templates").exists()


def test_links_between_pages_inside_and_outside_docs_lead_to_each_other(site: Path) -> None:
    """Every relative link of the built pages, an image included, leads to a file of the site."""
    for path in site.rglob("index.html"):
        targets = re.findall(r'(?:href|src)="([^"]+)"', path.read_text())
        for target in {html.unescape(target).partition("#")[0] for target in targets}:
            if target and not re.match(r"\w+:", target):
                found = path.parent / target
                assert (found / "index.html" if target.endswith(("/", ".")) else found).is_file(), (path, target)


@pytest.mark.slow
@pytest.mark.parametrize("warning", [*FAULTS.values(), 'not included in the "nav" configuration:\n  - alone.md'])
def test_a_faulty_page_fails_the_build(changed: tuple[Path, Any], warning: str) -> None:
    """Broken links and anchors, absolute links and pages outside the navigation are errors."""
    _, done = changed
    assert done.returncode != 0
    assert warning in done.stderr


def test_search_finds_names_and_text(site: Path) -> None:
    """The index of the search holds the API, the guides and the alerts."""
    found = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    locations = {entry["location"] for entry in found}
    assert {"api/#celery_health_bp.create_blueprint", "flask/", "alerts/CeleryWorkersDown/"} <= locations


# -- other hosts --


@pytest.mark.slow
def test_nothing_is_loaded_from_other_hosts(site: Path, changed: tuple[Path, Any]) -> None:
    """Fonts, style sheets, scripts and images are local, and the theme's script sends no request to other hosts.

    The script requests the star count of ``data-md-component="source"``, and loads Mermaid from a CDN.
    """
    for path in (*site.rglob("*.html"), *changed[0].rglob("*.html")):
        text = path.read_text()
        assert not re.findall(r'<(?:script|img|iframe|source)[^>]+src="?(?:https?:)?//[^>]*', text), path
        assert not re.findall(r'<link(?![^>]*rel="?canonical)[^>]+href="?(?:https?:)?//[^>]*', text), path
        assert not re.findall(r'data-md-component="source"|class="mermaid"', text), path
    for path in site.rglob("*.css"):
        assert not re.findall(r"url\(.?(?:https?:)?//|@import", path.read_text()), path


def test_without_a_public_address_no_link_is_invented(site: Path) -> None:
    """No page links to a repository."""
    assert "md-source" not in (site / "index.html").read_text()


@pytest.mark.slow
def test_files_that_are_no_pages_are_linked_at_the_public_address(changed: tuple[Path, Any]) -> None:
    """With ``url`` in setup.cfg every page links to the repository, and files outside the site are found there."""
    folder, _ = changed
    assert f'<a href="{URL}" title=' in (folder / "index.html").read_text()
    assert f'<a href="{URL}/blob/HEAD/examples/demo.py">example</a>' in article(folder, "wsgi")
    assert f'<a href="{URL}/blob/HEAD/README.md#metrics">the README</a>' in article(folder, "wsgi")


# -- API --


def test_every_public_name_has_its_part(site: Path) -> None:
    """``__all__``, the results of a check, every class of error and Django's function are on the page, and no other."""
    shown = set(re.findall(r'<h3 id="celery_health_bp\.([\w.]+)"', article(site, "api")))
    results = ("HealthReport", "Observation", "Worker", "Queue", "RunningTask", "ScheduledTask")
    expected = set(celery_health_bp.__all__) | {f"report.{name}" for name in results if hasattr(report, name)}
    expected |= {f"errors.{name}" for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert shown == expected | {f"django.{django.health_of_project.__name__}"}


def test_the_users_members_are_shown_and_private_ones_are_not(site: Path) -> None:
    """The page has the methods of ``CeleryHealth`` and ``Settings``, and no name that starts with an underscore."""
    shown = set(re.findall(r'<h4 id="celery_health_bp\.([\w.]+)"', article(site, "api")))
    methods = ("app", "settings", "check", "observe", "ask", "close")
    assert {f"CeleryHealth.{name}" for name in methods} <= shown
    assert {f"Settings.{name}" for name in ("from_env", "from_mapping", "from_celery")} <= shown
    assert not re.findall(r'id="celery_health_bp\.(?:\w+\.)*_\w+"', article(site, "api"))


def test_signatures_can_be_read(site: Path) -> None:
    """They have types and defaults, no line is longer than 100 characters, and no private function appears."""
    blocks = re.findall(r'<div class="[^"]*doc-signature[^"]*">.*?</div>', article(site, "api"), re.DOTALL)
    signatures = [html.unescape(re.sub(r"<[^>]+>", "", block)).strip() for block in blocks]
    mount = next(text for text in signatures if text.startswith("mount("))
    assert "    wsgi_app: WSGIApplication,\n" in mount
    assert '    api_prefix: str = "/api/celery",\n' in mount
    assert "from_env() -> Settings" in signatures
    assert max(len(line) for text in signatures for line in text.splitlines()) <= 100
    assert not [text for text in signatures if re.search(r"\b_\w", text)]


def test_no_markup_of_docstrings_is_left(site: Path) -> None:
    """Outside code no backtick and no double colon is left."""
    prose = re.sub(r"<(code|pre)\b.*?</\1>", "", article(site, "api"), flags=re.DOTALL)
    assert not re.findall(r"`|::", html.unescape(re.sub(r"<[^>]+>", "", prose)))
