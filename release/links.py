"""Relative links of Markdown pages, rewritten for places that show a page outside the repository."""

from __future__ import annotations

import re
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: A link or an image; code, which is left alone, is matched first where it begins first.
_LINK_OR_CODE = re.compile(
    r"(?P<code>^```.*?^```|`[^`\n]+`)|(?P<start>!?\[(?P<text>[^\[\]]*)\]\()(?P<target>[^)\s]+)\)",
    re.MULTILINE | re.DOTALL,
)
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*:|#", re.IGNORECASE)


def project_url() -> str:
    """Return the project's public address, ``url`` in ``setup.cfg``; empty while it has none."""
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser.get("metadata", "url", fallback="").rstrip("/")


def rewrite(text: str, new_target: Callable[[str], str | None]) -> str:
    """Replace the targets of the relative links of a page.

    Args:
        text: the page in Markdown. Links in code are left alone.
        new_target: returns the new target of a relative one; for ``None`` the link's
            text stays, without the link.
    """

    def replaced(match: re.Match[str]) -> str:
        if match["code"] or _ABSOLUTE.match(match["target"]):
            return match[0]
        target = new_target(match["target"])
        return match["text"] if target is None else f"{match['start']}{target})"

    return _LINK_OR_CODE.sub(replaced, text)


def in_project(path: str) -> str | None:
    """Return the public address of a file of the repository; ``None`` while the project has none.

    Args:
        path: from the root of the repository; may end with an anchor.
    """
    url = project_url()
    kind = "raw" if path.endswith((".png", ".svg")) else "blob"
    return f"{url}/{kind}/HEAD/{path}" if url else None
