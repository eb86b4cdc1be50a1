"""The benchmarks run and report their figures. No test asserts how fast anything is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import HOME, NAMES
from benchmarks.comparison import NUMBER, with_figures
from benchmarks.measure import Table, at_least, at_most, figure
from benchmarks.results import headline
from tests.support.pages import README, text
from tests.support.processes import ROOT

RESULTS = (HOME / "RESULTS.md").read_text()

#: What the tables of each benchmark must show, whichever peers are installed.
COLUMNS = {
    "health": {"ms: median (quartiles)", "times ours"},
    "scrape": {"series", "`/metrics`", "in memory", "times in memory", "multiprocess, 1", "writers", "times 1 writer"},
    "job_overhead": {"minus plain of the same worker", "times plain"},
    "accuracy": {"started", "completed", "failed", "retried"},
    "scale": {"nodes", "cold check", "bare drain", "times bare", "warm check", "flush", "cold check over Redis"},
    "memory": {"plain worker, MB", "monitored worker, MB", "web process, MB"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_quick_run_prints_its_columns(name: str) -> None:
    """Each benchmark runs alone, with the peers that are installed, and prints tables with its columns."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    heads = re.findall(r"^\| (.*) \|\n\| ---", done.stdout, re.MULTILINE)
    assert COLUMNS[name] <= {cell.strip() for head in heads for cell in head.split("|")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the results of a quick run of one benchmark."""
    folder = tmp_path_factory.mktemp("results")
    assert run_all("--only", "scrape", "--output", str(folder)) == 0
    return folder


def run_all(*options: str) -> int:
    """Return the exit code of ``python -m benchmarks``."""
    command = [sys.executable, "-m", "benchmarks", "--quick", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=110, check=False).returncode


@pytest.mark.slow
def test_results_are_written(folder: Path) -> None:
    """RESULTS.md names machine, versions and goals, and has the benchmark's tables."""
    text = (folder / "RESULTS.md").read_text()
    for part in ("| CPU |", "| celery |", "| redis server |", "load average", "## scrape", "| goal | wanted |"):
        assert part in text


@pytest.mark.slow
def test_charts_are_drawn(folder: Path) -> None:
    """The chart in the results is a PNG file next to them."""
    assert "(scrape-series.png)" in (folder / "RESULTS.md").read_text()
    assert (folder / "scrape-series.png").read_bytes().startswith(b"\x89PNG")


def test_a_failed_benchmark_is_reported(tmp_path: Path) -> None:
    """A failed benchmark does not end the run; the results and the exit code report it."""
    assert run_all("--only", "missing", "--output", str(tmp_path)) == 1
    assert "failed: `ModuleNotFoundError`" in (tmp_path / "RESULTS.md").read_text()


def test_goals_are_met_or_missed() -> None:
    """A goal is met at its limit, and missed beyond it."""
    goals = [at_most("a", 2.0, 2.0), at_most("b", 2.0, 2.1), at_least("c", 2.0, 2.0), at_least("d", 2.0, 1.9)]
    assert [goal.met for goal in goals] == [True, False, True, False]
    assert "| b | at most 2 | 2.1 | **missed** |" in headline(goals)


def test_a_figure_is_its_quartiles() -> None:
    """A table shows the median with both quartiles, three digits of each."""
    table = Table("title", ("", "ms"), [("x", figure([1.0, 2.0, 3.0, 1234.0, 5.0]))])
    assert "| x | 3 (2 to 5) |" in table.markdown()


def test_the_readme_gets_the_figures_of_new_results() -> None:
    """Other figures in the results replace those in the README's comparison, and nothing else."""
    row = r"^\| (?:Health check over HTTP|CPU added|Attempts started).*$"
    old = re.sub(row, lambda found: NUMBER.sub("7", found[0]), text(README), flags=re.MULTILINE)
    assert old.count("| 7") == 9  # every cell that starts with a figure
    assert with_figures(old, RESULTS) == text(README)


def test_the_readme_is_not_stale() -> None:
    """The figures in the README's comparison are those of the results in the repository."""
    assert with_figures(text(README), RESULTS) == text(README)


@pytest.mark.parametrize("missing", ["### Health over HTTP", r"^\| Flower", "minus plain", r"(?<=^\| true \| )[\d,]+"])
def test_a_missing_figure_is_an_error(missing: str) -> None:
    """Results without a table, a row, a column or a figure do not leave an old figure in the README."""
    with pytest.raises(LookupError):
        with_figures(text(README), re.sub(missing, "-", RESULTS, flags=re.MULTILINE))
