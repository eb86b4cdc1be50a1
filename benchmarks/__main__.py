"""Run all benchmarks and write their results: ``python -m benchmarks [--quick] [--output FOLDER]``.

``--only NAME`` runs one of them. Only complete runs without ``--quick`` replace the results in the repository.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

from .charts import draw
from .comparison import with_figures
from .measure import Table, tables_of
from .results import Section, results

NAMES = ("health", "scrape", "job_overhead", "accuracy", "scale", "memory")
HOME = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks and write the results. Return 1 if one has failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds; the figures mean nothing")
    parser.add_argument("--only", metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="folder for the results")
    options = parser.parse_args(arguments)
    folder = options.output or (Path(tempfile.mkdtemp()) if options.quick or options.only else HOME)
    began, load = datetime.now(timezone.utc), " ".join(f"{value:.2f}" for value in os.getloadavg())
    sections = [run(name, options.quick) for name in ([options.only] if options.only else NAMES)]
    write(folder, sections, results(sections, began, load, options.quick))
    return int(any(section.error for section in sections))


def run(name: str, quick: bool) -> Section:
    """Run one benchmark in a new process, so that its memory does not affect the others."""
    print(f"{name} ...", end=" ", flush=True)
    began = time.monotonic()
    tables: Sequence[Table] = ()
    error = None
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
            tables = executor.submit(tables_of, name, quick).result()
    except Exception as exc:  # run the others, and report the error in the results
        traceback.print_exc()
        error = type(exc).__name__
    seconds = time.monotonic() - began
    print(f"{seconds:.0f} s", flush=True)
    return Section(name, seconds, tables, error)


def write(folder: Path, sections: Sequence[Section], text: str) -> None:
    """Write ``RESULTS.md`` and its charts. Those of the repository also update the figures in its README."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "RESULTS.md").write_text(text)
    charts = {name: chart for section in sections for table in section.tables for name, chart in table.charts.items()}
    for name, chart in charts.items() if find_spec("matplotlib") else ():
        draw(folder / name, chart)
    print(f"written: {folder / 'RESULTS.md'}")
    if folder == HOME:
        readme = HOME.parent / "README.md"
        try:
            readme.write_text(with_figures(readme.read_text(), text))
        except LookupError as exc:  # a peer is not installed, or a benchmark failed
            print(f"README.md keeps its figures: {exc}")


if __name__ == "__main__":
    sys.exit(main())
