"""Adding a batch in Redis: one call of ``add.lua``, and what it answers."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from importlib.resources import files
from typing import Any

from ..counts import INTERNAL_ERRORS, MAX_ERROR_TYPES, SUM, Counts

#: A batch whose reply was lost can be sent again for this long without being added twice.
WRITER_TTL_SECONDS = 7 * 24 * 3600

#: Bits of what the script returns.
TOTALS_GONE, WRITER_GONE = 2, 4


class Script:
    """Runs ``add.lua`` by its digest, and sends its source only where Redis does not know it.

    redis-py's own class for scripts would want the right to ``SCRIPT LOAD`` besides.

    Arguments:
        client: of redis-py.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._source = files(__package__).joinpath("add.lua").read_text()
        self._digest = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, keys: list[str], sequence: int, max_customers: int, counts: Counts) -> int:
        """What the script returns.

        Arguments:
            keys: of totals, customers and the writer.
        """
        from redis.exceptions import NoScriptError

        arguments = [*keys, sequence, WRITER_TTL_SECONDS, max_customers, MAX_ERROR_TYPES, *dump(counts)]
        with suppress(NoScriptError):
            return int(self._client.evalsha(self._digest, len(keys), *arguments))
        return int(self._client.eval(self._source, len(keys), *arguments))


def dump(counts: Counts) -> list[Any]:
    """Arguments of the script from its fifth on."""
    counters: list[tuple[Any, ...]] = [(*series, number) for series, number in counts.counters.items()]
    sums: list[tuple[str, str]] = []
    for (name, task), histogram in counts.histograms.items():
        counters += [(name, task, repr(bound), "", number) for bound, number in histogram.buckets.items()]
        sums.append((f"{name}\0{task}\0{SUM}\0", repr(histogram.sum_seconds)))
    if counts.internal_errors:
        counters.append((INTERNAL_ERRORS, "", "", "", counts.internal_errors))
    return [len(counters), *(item for row in counters for item in row), *(item for row in sums for item in row)]
