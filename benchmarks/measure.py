"""Shared by all benchmarks: interleaved rounds, medians with quartiles, tables, ``--quick``."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple


class Figure(NamedTuple):
    """Median of several measurements, with the lower and the upper quartile."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.low)} to {number(self.high)})"


class Goal(NamedTuple):
    """A limit that a benchmark has to meet. Created by ``at_most`` and ``at_least``."""

    subject: str
    wanted: str
    found: float
    met: bool


def at_most(subject: str, limit: float, found: float) -> Goal:
    """Return the goal ``found <= limit``."""
    return Goal(subject, f"at most {number(limit)}", found, found <= limit)


def at_least(subject: str, limit: float, found: float) -> Goal:
    """Return the goal ``found >= limit``."""
    return Goal(subject, f"at least {number(limit)}", found, found >= limit)


@dataclass(frozen=True)
class Table:
    """One table of the results.

    Arguments:
        title: subjects and unit.
        columns: headings; the first column names the row.
        rows: cells; numbers are shown with three significant digits.
        notes: caveats, shown below the table.
        charts: file name -> chart for ``benchmarks.charts``: ``{"x": ..., "y": ..., "lines": {label: [(x, y)]}}``.
        goals: limits for its figures; ``RESULTS.md`` starts with the goals of all tables.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()
    charts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    goals: Sequence[Goal] = ()

    def markdown(self) -> str:
        """Return the table with title and notes."""
        notes = "".join(f"\n* {note}" for note in self.notes)
        return f"### {self.title}\n\n{self.body()}{notes}\n".rstrip() + "\n"

    def body(self) -> str:
        """Return the table without title and notes."""
        lines = [list(self.columns), ["---", *["--:"] * (len(self.columns) - 1)]]
        lines += [[number(cell) for cell in row] for row in self.rows]
        return "".join("| " + " | ".join(line) + " |\n" for line in lines)


Benchmark = Callable[[bool], Sequence[Table]]


def number(cell: Any) -> str:
    """Format a cell: three significant digits, thousands separated."""
    if isinstance(cell, float):
        if cell == 0:
            return "0"
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def figure(found: Sequence[float]) -> Figure:
    """Return median and quartiles."""
    if len(found) < 2:
        return Figure(found[0], found[0], found[0])
    low, median, high = statistics.quantiles(found, n=4, method="inclusive")
    return Figure(low, median, high)


def interleaved(subjects: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Figure]:
    """Return the milliseconds of each subject. Each round runs all of them, every other round in reverse order."""
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(rounds):
        for name in list(subjects)[:: 1 if turn % 2 else -1]:
            began = time.perf_counter()
            subjects[name]()
            found[name].append((time.perf_counter() - began) * 1000)
    return {name: figure(times) for name, times in found.items()}


def compared(
    title: str,
    figures: Mapping[str, Figure],
    ours: str,
    unit: str = "ms",
    notes: Sequence[str] = (),
    goals: Sequence[Goal] = (),
) -> Table:
    """Return a table with one row per subject and its ratio to ours."""
    base = figures[ours].median
    rows = [(name, found, found.median / base) for name, found in figures.items()]
    return Table(title, ("", f"{unit}: median (quartiles)", "times ours"), rows, notes, goals=goals)


def tables_of(name: str, quick: bool) -> Sequence[Table]:
    """Run the benchmark of this name."""
    benchmark: Benchmark = import_module(f"benchmarks.{name}").measure
    return benchmark(quick)


def main(benchmark: Benchmark, description: str | None) -> None:
    """Run one benchmark from the command line and print its tables."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it runs, not how fast")
    for table in benchmark(parser.parse_args().quick):
        print(table.markdown())
