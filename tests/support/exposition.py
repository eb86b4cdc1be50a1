"""Parse an exposition, as Prometheus does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

JOB = "upstream_background_job"


class Exposition:
    """Samples by name and labels; a duplicate family or series is an error."""

    def __init__(self, text: str) -> None:
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self.types: dict[str, str] = {}
        for family in text_string_to_metric_families(text):
            assert family.name not in self.types, f"family {family.name} appears twice"
            self.types[family.name] = family.type
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"series {key} appears twice"
                self.samples[key] = sample.value

    @classmethod
    def read(cls, base_url: str) -> Exposition:
        """Scrape ``/metrics`` of a web process."""
        with urlopen(f"{base_url}/metrics", timeout=15) as answer:
            return cls(answer.read().decode())

    def get(self, name: str, **labels: str) -> float | None:
        """Return the value of the series with exactly these labels, or ``None``."""
        return self.samples.get((name, frozenset(labels.items())))

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of all series that have at least these labels."""
        wanted = labels.items()
        return sum(value for (found, have), value in self.samples.items() if found == name and wanted <= set(have))

    def series(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """Yield labels and value of each series of a name."""
        return ((dict(labels), value) for (found, labels), value in self.samples.items() if found == name)

    def imbalance(self) -> dict[tuple[str, str], float]:
        """Return started - (completed + failed + retried + aborted) by task and customer.

        At rest each is 0: the accounting invariant.
        """
        difference: dict[tuple[str, str], float] = defaultdict(float)
        signs = {"started": 1, "completed": -1, "failed": -1, "retried": -1, "aborted": -1}
        for kind, sign in signs.items():
            for labels, value in self.series(f"{JOB}_{kind}_total"):
                difference[labels["task_name"], labels["customer_id"]] += sign * value
        return dict(difference)

    def ended(self) -> float:
        """Return how many attempts have completed, failed, been retried or been aborted."""
        return sum(self.total(f"{JOB}_{kind}_total") for kind in ("completed", "failed", "retried", "aborted"))
