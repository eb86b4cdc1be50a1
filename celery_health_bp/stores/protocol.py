"""The interface of a store of job totals."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ..counts import Counts

#: Most numbers in a batch. Redis serves no other client while it adds them: 3 to 10 ms.
MAX_BATCH = 1000


class Added(NamedTuple):
    """Keys that the store had lost when it added a batch.

    Attributes:
        totals_gone: the totals were empty, although this is not the writer's first batch.
        writer_gone: the writer's last sequence number was missing.
    """

    totals_gone: bool = False
    writer_gone: bool = False


class Store(Protocol):
    """Holds the totals of a whole fleet, to which its workers add."""

    @property
    def place(self) -> str:
        """URL of the store, without credentials."""

    @property
    def keys(self) -> str:
        """Prefix of every key."""

    def add(self, writer: str, sequence: int, counts: Counts) -> Added:
        """Add a batch of a worker's counts, completely or not at all, and once for each writer and sequence number.

        Arguments:
            writer: name of the counting process, unique for all time.
            sequence: 1 for the writer's first batch, then ascending by 1. A batch that is
                sent again keeps its number. 0 adds nothing, and fails if the store cannot be written.
            counts: at most ``MAX_BATCH`` numbers.

        Raises:
            StoreUnavailable: the batch may not have been added; send it again.
        """

    def totals(self, timeout_seconds: float = 2.0) -> Counts:
        """Return the fleet's totals.

        Arguments:
            timeout_seconds: limit for reading more fields than fit in one call.

        Raises:
            StoreUnavailable: the totals could not be read, are too many, or took too long.
        """

    def identity(self, *, create: bool = False) -> str | None:
        """Return the random id in the store, or ``None`` if there is none.

        Two processes that read the same id use the same store. Emptying the
        store deletes the id.

        Arguments:
            create: create the id if it is missing.

        Raises:
            StoreUnavailable: the id could not be read or created.
        """

    def dangers(self) -> tuple[str, ...]:
        """Return a sentence for each way in which the store may lose totals; none if that is not known."""

    def close(self) -> None:
        """Close the connections. The next call opens new ones."""
