"""The figures in the README's comparison with other tools: each is a cell of ``RESULTS.md``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

NUMBER = re.compile(r"\d[\d,.]*")


class Source(NamedTuple):
    """Where the figures of one row of the README are measured.

    Attributes:
        table: how the table's title begins.
        rows: how its rows begin, in the order of the README.
        columns: how its columns begin; each row gives one figure per column.
        last: take the last number of a cell, such as the count in ``0.9830 (2,084)``; else the first, a median.
    """

    table: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    last: bool = False


#: How a row of the README begins -> its figures. Every number in such a row is a figure.
SOURCES = {
    "Health check over HTTP": Source(
        "Health over HTTP", ("GET health/", "Flower", "django-health-check"), ("ms: median",)
    ),
    "CPU added to a job": Source(
        "Cost of counting a job", ("monitored", "-E (task events)", "-E, celery-exporter"), ("minus plain",)
    ),
    "Attempts started and failed": Source(
        "Counted / true", ("true", "celery_health_bp", "Flower", "celery-exporter"), ("started", "failed"), last=True
    ),
}


def with_figures(readme: str, results: str) -> str:
    """Return the README with the figures of these results.

    Raises:
        LookupError: a figure is missing in the results, or a row in the README.
    """
    for label, source in SOURCES.items():
        found = re.search(rf"^\| {re.escape(label)}.*$", readme, re.MULTILINE)
        if found is None:
            raise LookupError(f"README.md has no row {label!r}")
        parts = NUMBER.split(found.group())
        figures = [*_figures(source, results), ""]
        if len(parts) != len(figures):
            raise LookupError(f"README.md needs {len(figures) - 1} numbers in the row {label!r}")
        row = "".join(part + figure for part, figure in zip(parts, figures, strict=True))
        readme = readme[: found.start()] + row + readme[found.end() :]
    return readme


def _figures(source: Source, results: str) -> Iterator[str]:
    section = results.partition(f"\n### {source.table}")[2].partition("\n#")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in re.findall(r"^\|.*", section, re.MULTILINE)]
    heads, names = (cells[0] if cells else []), [row[0] for row in cells]
    for name, head in product(source.rows, source.columns):
        numbers = NUMBER.findall(cells[_place(names, name)][_place(heads, head)])
        if not numbers:
            raise LookupError(f"RESULTS.md has no figure for {name!r}, {head!r}")
        yield numbers[-1 if source.last else 0]


def _place(names: Sequence[str], beginning: str) -> int:
    """Return the index of the only name that begins like this."""
    places = [place for place, name in enumerate(names) if name.startswith(beginning)]
    if len(places) != 1:
        raise LookupError(f"RESULTS.md has {len(places)} rows or columns {beginning!r}")
    return places[0]
