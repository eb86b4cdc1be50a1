"""Compares the stores that workers send job totals to with the store that this process reads.

The kind of store and the keys must be equal. The URL need not be: one Redis can have several host names.
Each store therefore holds a random id: two processes that read the same id use the same store. A flushed
store gets a new id; this process remembers the earlier ids of its store.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Iterable

from ..notes import name_list, warn
from ..report import StoreFacts, Worker
from ..stores import Store
from .single_flight import SingleFlight

logger: logging.Logger = logging.getLogger(__name__)

#: How many ids of the store are remembered.
MAX_IDS = 10
#: How many different warnings are logged.
MAX_LOGGED = 100
ADVICE = "give workers and this process the same metrics_store and metrics_key_prefix"


class Agreement:
    """Compares the stores of workers with the store of this process. Not thread-safe.

    Arguments:
        store: the store that this process reads; ``None``: it asks the workers for their counts.
    """

    def __init__(self, store: Store | None) -> None:
        self._own = StoreFacts("control") if store is None else StoreFacts("redis", store.place, store.keys)
        self._reading = None if store is None else SingleFlight(store.identity)
        self._ids: deque[str] = deque(maxlen=MAX_IDS)
        self._logged: set[str] = set()

    def compare(self, workers: Iterable[Worker], wait_seconds: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of the workers with another store, and one sentence per other store.

        Arguments:
            workers: workers without ``store`` are ignored.
            wait_seconds: how long to wait for the id of this process's store. It is read only if a worker
                reports an unknown id.
        """
        stores = [(worker.name, worker.store) for worker in workers if worker.store is not None]
        strays = [(name, store) for name, store in stores if not self._is_own(store)]
        if any(self._is_alike(store) for _, store in strays):
            known = self._read_id(wait_seconds)
            strays = [
                (n, store) for n, store in strays if not self._is_own(store) and (known or not self._is_alike(store))
            ]
        groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        for name, store in strays:
            groups[store.kind, store.place, store.keys].append(name)
        sentences = tuple(self._sentence(names, StoreFacts(*facts)) for facts, names in groups.items())
        return tuple(name for name, _ in strays), sentences

    def _is_alike(self, store: StoreFacts) -> bool:
        """Return whether kind and keys are equal; the URLs may name the same server."""
        return store.kind == self._own.kind and store.keys == self._own.keys

    def _is_own(self, store: StoreFacts) -> bool:
        return self._is_alike(store) and (store.identity is None or store.identity in self._ids)

    def _read_id(self, wait_seconds: float) -> bool:
        """Read the current id of the store and remember it; an empty store has none.

        Returns:
            Whether the store could be read.
        """
        if self._reading is None:
            return False
        try:
            identity, _ = self._reading.result(wait_seconds)
        except Exception:  # the next scrape reports that the store is unavailable
            logger.debug("the id of the store cannot be read", exc_info=True)
            return False
        if identity is not None and identity not in self._ids:
            self._ids.append(identity)
        return True

    def _sentence(self, names: list[str], store: StoreFacts) -> str:
        """Return the sentence on one other store, and log it once."""
        if store == self._own:
            difference = f"go to {_where(store)}, but this process reads another server of the same name"
        else:
            reads = "asks the workers for them" if self._own.kind == "control" else "reads"
            goes = "stay in memory" if store.kind == "control" else "go to"
            difference = f"{goes} {_where(store)}, but this process {reads} {_where(self._own)}"
        sentence = f"Job totals of {name_list(names)} {difference}: {ADVICE}"
        if difference not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add(difference)
            warn(sentence)
        return sentence


def _where(store: StoreFacts) -> str:
    return '(metrics_store="control")' if store.kind == "control" else f"{store.place} (keys {store.keys})"
