"""Calls ``add.lua``, which adds a batch in Redis."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from importlib.resources import files
from typing import Any

from ..counts import INTERNAL_ERRORS, MAX_ERROR_TYPES, SUM, Counts

#: How long Redis keeps a writer's sequence number: a batch that is sent again within this time is not added twice.
WRITER_TTL_SECONDS = 7 * 24 * 3600

#: Bits of the script's result.
TOTALS_GONE, WRITER_GONE = 2, 4


class Script:
    """Runs ``add.lua`` by its digest, and sends the source only if Redis does not have it.

    Not redis-py's class for scripts, which also needs permission for ``SCRIPT LOAD``.

    Arguments:
        client: a client of redis-py.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._source = files(__package__).joinpath("add.lua").read_text()
        self._digest = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, keys: list[str], sequence: int, max_customers: int, counts: Counts) -> int:
        """Run the script and return its result, which ``add.lua`` describes.

        Arguments:
            keys: names of the keys of totals, customers and writer.
            sequence: number of the batch.
            max_customers: cap of customers per task in the fleet.
            counts: the batch.
        """
        from redis.exceptions import NoScriptError

        arguments = [*keys, sequence, WRITER_TTL_SECONDS, max_customers, MAX_ERROR_TYPES, *dump(counts)]
        with suppress(NoScriptError):
            return int(self._client.evalsha(self._digest, len(keys), *arguments))
        return int(self._client.eval(self._source, len(keys), *arguments))


def dump(counts: Counts) -> list[Any]:
    """Return the script's arguments from the fifth on."""
    counters: list[tuple[Any, ...]] = [(*series, number) for series, number in counts.counters.items()]
    sums: list[tuple[str, str]] = []
    for (name, task), histogram in counts.histograms.items():
        counters += [(name, task, repr(bound), "", number) for bound, number in histogram.buckets.items()]
        sums.append((f"{name}\0{task}\0{SUM}\0", repr(histogram.sum_seconds)))
    if counts.internal_errors:
        counters.append((INTERNAL_ERRORS, "", "", "", counts.internal_errors))
    return [len(counters), *(item for row in counters for item in row), *(item for row in sums for item in row)]
