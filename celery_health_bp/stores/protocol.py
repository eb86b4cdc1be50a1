"""What a store of job totals can do."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ..counts import Counts

#: Numbers in a batch: Redis serves nobody else while it adds them, for some 3 to 10 ms.
MAX_BATCH = 1000


class Added(NamedTuple):
    """What the store missed when it added a batch.

    Attributes:
        totals_gone: there were no totals at all, and this is not the writer's first batch.
        writer_gone: it did not know the writer's last batch.
    """

    totals_gone: bool = False
    writer_gone: bool = False


class Store(Protocol):
    """Totals of a whole fleet, fed by its workers."""

    @property
    def place(self) -> str:
        """Its URL, without credentials."""

    @property
    def keys(self) -> str:
        """What every key begins with."""

    def add(self, writer: str, sequence: int, counts: Counts) -> Added:
        """Add a worker's counts, exactly once for each writer and sequence; all of them, or none.

        Arguments:
            writer: name of the counting process, never used again by another.
            sequence: 1 for its first batch, one more for each further one; a
                batch sent again keeps its own. 0 adds nothing, but fails where nothing can be added.
            counts: at most ``MAX_BATCH`` numbers.

        Raises:
            StoreUnavailable: not known to be added; send the same batch again.
        """

    def totals(self, timeout_seconds: float = 2.0) -> Counts:
        """The fleet's totals.

        Arguments:
            timeout_seconds: how long many of them may take.

        Raises:
            StoreUnavailable: they could not be read, not all in time, or are too many.
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

    def dangers(self) -> tuple[str, ...]:
        """Sentences on how the store may lose totals; none where that cannot be known."""

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
