"""Files of client_python's multiprocess mode, as a number of processes leave them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector


def multiprocess_scrape(families: Iterable[Metric], processes: int, folder: Path) -> Callable[[], bytes]:
    """Return a scrape of the files of ``processes`` processes, each with all counters and histograms."""
    by_type: dict[str, list[Metric]] = {"counter": [], "histogram": []}
    for family in families:
        by_type.get(family.type, []).append(family)
    for kind, members in by_type.items():
        first = folder / f"{kind}_1.db"
        _write(first, members)
        for pid in range(2, processes + 1):  # hard links save gigabytes: each process has the same content
            os.link(first, folder / f"{kind}_{pid}.db")

    def scrape() -> bytes:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(folder))
        return generate_latest(registry)

    return scrape


def _write(path: Path, families: Iterable[Metric]) -> None:
    file = MmapedDict(str(path))
    for family in families:
        for sample in family.samples:
            if not sample.name.endswith("_count"):  # added when the files are read
                names, values = list(sample.labels), list(sample.labels.values())
                key = mmap_key(family.name, sample.name, names, values, family.documentation)
                file.write_value(key, sample.value, 0.0)
    file.close()
