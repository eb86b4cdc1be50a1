"""Content of ``RESULTS.md``: goals, machine, versions, and the tables of every benchmark."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from .measure import Goal, Table, number
from .peers import PEERS
from .stage import redis_server

LIBRARIES = ("celery", "kombu", "redis", "hiredis", "prometheus-client", "flask", "marshmallow")

CAVEATS = """\
Ratios apply to other machines, milliseconds do not: brokers, workers and measuring processes share the cores and the
loopback interface of one machine. Subjects of a table run interleaved. Each figure is a median with its quartiles.
[How to read the tables](README.md), and what they do not show.
"""


@dataclass(frozen=True)
class Section:
    """Result of one benchmark: ``tables``, or the class of the error that ended it."""

    name: str
    seconds: float
    tables: Sequence[Table] = ()
    error: str | None = None

    def markdown(self) -> str:
        """Return the section as Markdown."""
        charts = [f"![{name.removesuffix('.png')}]({name})\n" for table in self.tables for name in table.charts]
        failed = [] if self.error is None else [f"This benchmark failed: `{self.error}`\n"]
        command = f"`python -m benchmarks.{self.name}`, {self.seconds:.0f} s\n"
        parts = [f"## {self.name}\n", command, *failed, *(table.markdown() for table in self.tables), *charts]
        return "\n".join(parts)


def results(sections: Sequence[Section], began: datetime, load: str, quick: bool) -> str:
    """Return the whole file."""
    minutes = sum(section.seconds for section in sections) / 60
    made = f"Made by `python -m benchmarks{' --quick' if quick else ''}` on {began:%Y-%m-%d} in {minutes:.0f} minutes."
    notice = "A quick run: its figures mean nothing.\n\n" if quick else ""
    facts = facts_table({**machine(), "load average at the start": load, **versions()})
    goals = [goal for section in sections for table in section.tables for goal in table.goals]
    parts = [f"# Benchmark results\n\n{made}\n\n{notice}{CAVEATS}", headline(goals), facts]
    return "\n".join([*parts, *(section.markdown() for section in sections)])


def headline(goals: Sequence[Goal]) -> str:
    """Return the table of goals, met and missed."""
    rows = [(goal.subject, goal.wanted, number(goal.found), "met" if goal.met else "**missed**") for goal in goals]
    return Table("", ("goal", "wanted", "measured", ""), rows).body()


def facts_table(facts: Mapping[str, str]) -> str:
    """Return the table of facts about machine and versions."""
    lines = [f"| {name} | {fact} |" for name, fact in facts.items()]
    return "\n".join(["| | |", "| --- | --- |", *lines, ""])


def machine() -> dict[str, str]:
    """Return facts about the machine."""
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {
        "CPU": f"{model.group(1) if model else platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{memory:.1f} GiB",
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    """Return the versions of all libraries, servers and installed peers."""
    found = {"Python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
    with redis_server() as server, server.client() as client:
        info = client.info("server")
    name = str(info.get("server_name", "redis"))
    found[f"{name} server"] = str(info.get(f"{name}_version", info["redis_version"]))
    return found | {peer.name: peer.version for peer in PEERS if peer.version is not None}
