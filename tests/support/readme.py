"""The README in parts: fenced blocks and tables."""

from __future__ import annotations

import re

from tests.support.processes import ROOT

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def table(head: str) -> list[list[str]]:
    """Cells of the rows below the table head that begins like this."""
    rows = README.split(f"| {head} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


#: Name, type and labels of each metric.
METRICS = [(name.strip("`"), kind, set(filter(None, labels.split(", ")))) for name, kind, labels, _ in table("metric")]
