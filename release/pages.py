"""MkDocs hook: add pages outside ``docs/`` to the site, and resolve links between all pages."""

from __future__ import annotations

import posixpath
from pathlib import Path

from links import ROOT, in_project, project_url, rewrite
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.livereload import LiveReloadServer
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

#: Files outside ``docs/`` to add, at the same path as in the repository.
ADDED = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "benchmarks").glob("*.[mp][dn]*"))),
)


def on_config(config: MkDocsConfig) -> None:
    """Link to the repository if it has a public address."""
    config.repo_url = project_url() or None


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages and their images."""
    for path in ADDED:
        files.append(File(path, str(ROOT), config.site_dir, config.use_directory_urls))


def on_serve(server: LiveReloadServer, config: MkDocsConfig, builder: object) -> None:
    """Rebuild when a page outside ``docs/`` or a docstring changes."""
    for path in (*ADDED, "celery_health_bp"):
        server.watch(str(ROOT / path))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Change links between files of the repository into links between pages of the site."""
    here = Path(str(page.file.abs_src_path)).relative_to(ROOT).parent.as_posix()

    def new_target(target: str) -> str | None:
        path, anchor, name = target.partition("#")
        path = posixpath.normpath(posixpath.join(here, path))
        if target.startswith("/") or not (ROOT / path).exists():
            return target  # MkDocs warns
        if path not in ADDED and not path.startswith("docs/"):
            return in_project(path + anchor + name)
        on_site = path.removeprefix("docs/")
        return posixpath.relpath(on_site, posixpath.dirname(page.file.src_uri) or ".") + anchor + name

    return rewrite(markdown, new_target)
