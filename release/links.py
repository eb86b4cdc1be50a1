"""Rewrite relative links of Markdown pages for a package index and for the documentation site."""

from __future__ import annotations

import re
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: A link, an image or code. Matching code keeps links in it unchanged.
_LINK_OR_CODE = re.compile(
    r"(?P<code>^```.*?^```|`[^`\n]+`)|(?P<start>!?\[(?P<text>[^\[\]]*)\]\()(?P<target>[^)\s]+)\)",
    re.MULTILINE | re.DOTALL,
)
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*:|#", re.IGNORECASE)


def project_url() -> str:
    """Return the project's public address, ``url`` in ``setup.cfg``, or an empty string."""
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser.get("metadata", "url", fallback="").rstrip("/")


def rewrite(text: str, new_target: Callable[[str], str | None]) -> str:
    """Return the page with new targets for its relative links.

    Arguments:
        text: the page in Markdown. Links in code stay unchanged.
        new_target: function from a relative target to the new one. For ``None``, only
            the text of the link is kept.
    """

    def replaced(match: re.Match[str]) -> str:
        if match["code"] or _ABSOLUTE.match(match["target"]):
            return match[0]
        target = new_target(match["target"])
        return match["text"] if target is None else f"{match['start']}{target})"

    return _LINK_OR_CODE.sub(replaced, text)


def in_project(path: str) -> str | None:
    """Return the public address of a file, or ``None`` if the project has no public address.

    Arguments:
        path: path from the root of the repository, with or without an anchor.
    """
    url = project_url()
    kind = "raw" if path.endswith((".png", ".svg")) else "blob"
    return f"{url}/{kind}/HEAD/{path}" if url else None
