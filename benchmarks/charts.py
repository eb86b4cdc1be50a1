"""Draw charts of the tables as PNG, with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Grey, readable on white and on black. The background is transparent.
INK = "#7d8590"
#: Distinguishable with colour blindness (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
#: Our line is the thickest.
WIDTHS = (2.5, *[1.5] * (len(COLOURS) - 1))


def draw(path: Path, chart: Mapping[str, Any]) -> None:
    """Write a chart in the format of ``Table.charts``. Both axes are logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    styles = zip(COLOURS, "os^Dvx", WIDTHS, strict=True)
    for (label, points), (colour, marker, width) in zip(chart["lines"].items(), styles, strict=False):
        axes.plot(*zip(*points, strict=True), label=label, color=colour, marker=marker, linewidth=width)
    axes.set(xscale="log", yscale="log", xlabel=chart["x"], ylabel=chart["y"])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.label.set_color(INK)
    axes.tick_params(which="both", colors=INK)
    axes.spines[:].set_color(INK)
    axes.grid(color=INK, alpha=0.25)
    axes.legend(frameon=False, labelcolor=INK)
    figure.savefig(path, transparent=True, metadata={"Software": None})
