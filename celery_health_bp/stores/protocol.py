"""What a store of job totals can do."""

from __future__ import annotations

from typing import Protocol

from ..counts import Counts


class Store(Protocol):
    """Totals of a whole fleet, fed by its workers."""

    @property
    def place(self) -> str:
        """Its URL, without credentials."""

    @property
    def keys(self) -> str:
        """What every key begins with."""

    def add(self, writer: str, sequence: int, counts: Counts) -> None:
        """Add a worker's counts, exactly once for each writer and sequence.

        Arguments:
            writer: name of the counting process, never used again by another.
            sequence: rises with every new batch; a batch sent again keeps its own.

        Raises:
            StoreUnavailable: not known to be added; send the same batch again.
        """

    def totals(self) -> Counts:
        """The fleet's totals.

        Raises:
            StoreUnavailable: they could not be read.
        """

    def identity(self, *, create: bool = False) -> str | None:
        """Return the random id that the store holds, ``None`` if it has none.

        Two processes that read the same id use the same store. It is lost when
        the store is emptied.

        Arguments:
            create: give the store an id if it has none.

        Raises:
            StoreUnavailable: it could not be read.
        """

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
