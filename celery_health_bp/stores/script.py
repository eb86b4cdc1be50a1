"""Adding a batch in Redis: one call of ``add.lua``, and what it answers."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any

from ..counts import INTERNAL_ERRORS, SUM, Counts

#: A batch whose reply was lost can be sent again for this long without being added twice.
WRITER_TTL_SECONDS = 7 * 24 * 3600

#: Bits of what the script returns.
TOTALS_GONE, WRITER_GONE = 2, 4

SOURCE = files(__package__).joinpath("add.lua").read_text()
DIGEST = hashlib.sha1(SOURCE.encode()).hexdigest()  # noqa: S324  (Redis names scripts by it)


def run(client: Any, keys: list[str], sequence: int, max_customers: int, counts: Counts) -> int:
    """Call the script, and return what it returns.

    Arguments:
        client: a redis-py client.
        keys: of totals, customers and the writer.
    """
    from redis.exceptions import NoScriptError

    arguments = [*keys, sequence, WRITER_TTL_SECONDS, max_customers, *dump(counts)]
    try:
        result = client.evalsha(DIGEST, len(keys), *arguments)
    except NoScriptError:
        result = None
    # Not redis-py's Script: it would want the right to SCRIPT LOAD besides.
    return int(client.eval(SOURCE, len(keys), *arguments) if result is None else result)


def dump(counts: Counts) -> list[Any]:
    """Arguments of the script from its fourth on."""
    counters = [
        (series.task_name, f"{series.kind}\0{series.task_name}\0{series.detail}", series.customer_id, number)
        for series, number in counts.counters.items()
    ]
    sums: list[tuple[str, str]] = []
    for (name, task), histogram in counts.histograms.items():
        counters += [(task, f"{name}\0{task}\0{bound!r}", "", n) for bound, n in histogram.buckets.items()]
        sums.append((f"{name}\0{task}\0{SUM}\0", repr(histogram.sum_seconds)))
    if counts.internal_errors:
        counters.append(("", f"{INTERNAL_ERRORS}\0\0", "", counts.internal_errors))
    return [len(counters), *(item for row in counters for item in row), *(item for row in sums for item in row)]
