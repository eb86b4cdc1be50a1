"""The README and the pages of ``docs/`` in parts: fenced blocks, commands and tables.

Pages are named by their path below ``docs/``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .processes import ROOT

DOCS = ROOT / "docs"
README = "../README.md"


def text(page: str) -> str:
    """Return the whole page."""
    return (DOCS / page).read_text()


def fenced(page: str) -> list[tuple[str, str]]:
    """Return language and text of each fenced block, in their order."""
    return re.findall(r"^```(\w+)\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a language, in their order."""
    return [block for name, block in fenced(page) if name == language]


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block with the output that is shown below it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def table(page: str, head: str) -> list[list[str]]:
    """Return the cells of each row of the table whose first column has this head."""
    rows = text(page).split(f"| {head} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


#: Name, type and labels of each metric; those of jobs come first.
METRICS = [
    (name.strip("`"), kind, set(filter(None, labels.split(", "))))
    for name, kind, labels, _ in table("reference/metrics.md", "metric")
]
JOB_METRICS = [metric for metric in METRICS if "_background_job_" in metric[0]]
