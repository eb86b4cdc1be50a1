"""Keeps a fleet's totals in Redis or Valkey; each batch is one script call that is applied exactly once.

Keys: ``{PREFIX}:totals``, ``{PREFIX}:customers``, ``{PREFIX}:id`` and
``{PREFIX}:writer:ID`` (expires after a week). Their hash tag puts them all in
one slot of a cluster.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from ..counts import Counts
from ..errors import StoreUnavailable
from ..settings import Settings
from .connect import Server, connect
from .protocol import Added
from .script import TOTALS_GONE, WRITER_GONE, Script

#: Most fields that a scrape reads in one call, and most fields that it reads at all.
FIELDS_AT_ONCE, MAX_FIELDS = 10_000, 200_000

#: First words of errors that are temporary. Some versions of redis-py have classes for some of them, and
#: Redis 6 puts the position in a script before them.
TEMPORARY = re.compile(
    r"(?:@user_script: \d+: )?-?"
    r"(NOREPLICAS|MISCONF|BUSY|TRYAGAIN|ASK|CLUSTERDOWN|MASTERDOWN|LOADING|READONLY|OOM)\b"
)


class RedisStore:
    """Keeps the totals of a fleet in one hash.

    Arguments:
        server: the Redis, with a client that this store owns.
        key_prefix: hash tag of every key.
        max_customers: values of ``customer_id`` per task in the whole fleet.
        global_prefix: prefix before the hash tag (kombu's ``global_keyprefix``; an ACL may allow no other keys).
    """

    def __init__(self, server: Server, key_prefix: str, max_customers: int, global_prefix: str = "") -> None:
        self._server = server
        self._client = server.client
        self._max_customers = max_customers
        self._tag = global_prefix + "{" + key_prefix + "}"
        self._script = Script(server.client)
        self._info_refused = False

    @classmethod
    def from_url(cls, url: str, app: Any, settings: Settings) -> RedisStore:
        """Make a store for a URL. Connects on first use.

        Arguments:
            url: one URL, or several separated by ``;``.
            app: the Celery app, which supplies options for TLS and sentinels, and ``global_keyprefix``.
            settings: supplies ``metrics_key_prefix`` and ``max_customers``.

        Raises:
            ConfigurationError: see ``connect``.
        """
        global_prefix = app.conf.broker_transport_options.get("global_keyprefix", "")
        return cls(connect(url, app), settings.metrics_key_prefix, settings.max_customers, global_prefix)

    @property
    def place(self) -> str:
        """See ``Store.place``."""
        return self._server.place

    @property
    def keys(self) -> str:
        """See ``Store.keys``."""
        return self._tag

    def add(self, writer: str, sequence: int, counts: Counts) -> Added:
        """See ``Store.add``."""
        keys = [f"{self._tag}:totals", f"{self._tag}:customers", f"{self._tag}:writer:{writer}"]
        with self._errors_translated():
            result = self._script(keys, sequence, self._max_customers, counts)
        if result < 0:
            raise StoreUnavailable(
                f"job totals: {self}: {keys[-result - 1]} holds something that this package has not written there; "
                "rename or delete it",
                cause="UnexpectedContent",
                refused=True,
            )
        return Added(totals_gone=bool(result & TOTALS_GONE), writer_gone=bool(result & WRITER_GONE))

    def totals(self, timeout_seconds: float = 2.0) -> Counts:
        """See ``Store.totals``."""
        key, deadline = f"{self._tag}:totals", time.monotonic() + timeout_seconds
        with self._errors_translated(), self._server.one_server():
            size = self._client.hlen(key)
            if size > MAX_FIELDS:
                raise StoreUnavailable(
                    f"job totals: {key} of {self} has {size:,} fields, and a scrape reads at most {MAX_FIELDS:,}: "
                    "lower max_customers, then delete the key to begin at 0"
                )
            if size <= FIELDS_AT_ONCE:
                return Counts.from_fields(self._client.hgetall(key).items())
            try:  # in several calls, between which Redis serves other clients; a field may be returned twice
                fields = dict(_until(deadline, self._client.hscan_iter(key, count=FIELDS_AT_ONCE)))
                if len(fields) < size:  # deleted meanwhile, or read from several servers
                    raise StoreUnavailable(f"job totals: {key} of {self} changed while it was read")
                return Counts.from_fields(_until(deadline, fields.items()))
            except TimeoutError:
                raise StoreUnavailable(
                    f"job totals: the {size:,} fields of {self} could not be read within {timeout_seconds:g} s"
                ) from None

    def identity(self, *, create: bool = False) -> str | None:
        """See ``Store.identity``."""
        key = f"{self._tag}:id"
        with self._errors_translated():
            found = self._client.get(key)
            if found is None and create:
                self._client.set(key, uuid4().hex, nx=True)  # nx: another process may be faster
                found = self._client.get(key)
        return None if found is None else found.decode(errors="replace")

    def dangers(self) -> tuple[str, ...]:
        """See ``Store.dangers``."""
        if self._info_refused:
            return ()
        try:
            with self._errors_translated():
                memory = self._client.info("memory")
        except StoreUnavailable as exc:
            self._info_refused = exc.cause == "NoPermissionError"  # Redis logs every refused command
            return ()
        policy = str(memory.get("maxmemory_policy"))
        if not memory.get("maxmemory") or not policy.startswith("allkeys"):
            return ()
        return (f"{self} may be evicted (maxmemory_policy {policy}): totals would go backwards; use noeviction",)

    def close(self) -> None:
        """See ``Store.close``."""
        self._server.disconnect()  # before redis-py 5.0, close() leaves connections open

    def __str__(self) -> str:
        """Description of the Redis and the keys, without credentials."""
        return f"{self._server.name}, keys {self._tag}:*"

    @contextmanager
    def _errors_translated(self) -> Iterator[None]:
        from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

        from .followers import moved_to

        try:
            yield
        except (RedisError, OSError, UnicodeError) as exc:  # UnicodeError: a host name that cannot be encoded
            if moved_to(exc):
                raise StoreUnavailable(
                    f"job totals: {self._server.name} is a node of a Redis Cluster, and the keys {self._tag}:* are on "
                    "another one: give metrics_store=redis+cluster://HOST:PORT",
                    cause="MovedError",
                    refused=True,
                ) from exc
            # A plain ResponseError that is not temporary is an error in the call, such as a wrong type.
            temporary = TEMPORARY.match(str(exc)) if type(exc) is ResponseError else None
            refused = isinstance(exc, AuthenticationError | NoPermissionError) or (
                type(exc) is ResponseError and not temporary
            )
            cause = temporary[1] if temporary else _root_name(exc)
            words = "refuses the call" if refused else "cannot be used"
            raise StoreUnavailable(f"job totals: {self} {words} ({cause})", cause, refused) from exc


def _until(deadline: float, fields: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the fields; raise ``TimeoutError`` after the deadline, a value of ``time.monotonic()``."""
    for number, field in enumerate(fields):
        if number % 1000 == 0 and time.monotonic() > deadline:
            raise TimeoutError
        yield field


def _root_name(exc: BaseException) -> str:
    """Return the class name of the first cause, such as ``SSLCertVerificationError`` of a ``ConnectionError``."""
    while (cause := exc.__cause__ or exc.__context__) is not None:
        exc = cause
    return type(exc).__name__
