"""Fleet totals in Redis or Valkey: one script call per flush, applied exactly once.

Keys, all in one cluster slot by their hash tag: ``{PREFIX}:totals``,
``{PREFIX}:customers``, ``{PREFIX}:id`` and ``{PREFIX}:writer:ID`` (forgotten
after a week).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

from ..counts import Counts
from ..errors import ConfigurationError, StoreUnavailable
from ..settings import Settings
from . import script

SOCKET_TIMEOUT_SECONDS = 1.0
#: kombu's names of Redis transports -> redis-py's URL schemes.
SCHEMES = {
    "redis": "redis", "valkey": "redis", "rediss": "rediss", "valkeys": "rediss",
    "redis+socket": "unix", "socket": "unix", "unix": "unix",
}  # fmt: skip


def redis_url(app: Any) -> str | None:
    """URL of the Redis that a Celery app uses as broker, else as result backend."""
    urls = [app.conf.broker_write_url, app.conf.result_backend]
    for url in urls:
        first = url[0] if isinstance(url, list | tuple) and url else url
        first = str(first or "").split(";")[0]
        if first.partition("://")[0] in SCHEMES:
            return first
    return None


class RedisStore:
    """Totals of a fleet in one hash.

    Arguments:
        client: a ``redis.Redis`` with short timeouts, owned by this store.
        key_prefix: the hash tag of every key.
        max_customers: values of ``customer_id`` per task in the whole fleet.
    """

    def __init__(self, client: Any, key_prefix: str, max_customers: int) -> None:
        self._client = client
        self._max_customers = max_customers
        self._tag = "{" + key_prefix + "}"

    @classmethod
    def from_url(cls, url: str, app: Any, settings: Settings) -> RedisStore:
        """A store on the Redis at ``url``, with the TLS options of the app where it is the app's own.

        Raises:
            ConfigurationError: redis-py is not installed.
        """
        prefix = app.conf.broker_transport_options.get("global_keyprefix", "") + settings.metrics_key_prefix
        return cls(connect(url, app), prefix, settings.max_customers)

    @property
    def place(self) -> str:
        """See ``Store.place``."""
        options = self._client.connection_pool.connection_kwargs
        database = options.get("db") or 0
        if "path" in options:
            return f"redis+socket://{options['path']}?virtual_host={database}"
        return f"redis://{options.get('host', 'localhost')}:{options.get('port', 6379)}/{database}"

    @property
    def keys(self) -> str:
        """See ``Store.keys``."""
        return self._tag

    def add(self, writer: str, sequence: int, counts: Counts) -> None:
        """See ``Store.add``."""
        keys = [f"{self._tag}:totals", f"{self._tag}:customers", f"{self._tag}:writer:{writer}"]
        with self._errors_translated():
            result = script.run(self._client, keys, sequence, self._max_customers, counts)
        if result < 0:
            raise StoreUnavailable(
                f"job totals: {self}: {keys[-result - 1]} holds something that this package has not written there; "
                "rename or delete it",
                cause="UnexpectedContent",
                refused=True,
            )

    def totals(self) -> Counts:
        """See ``Store.totals``."""
        with self._errors_translated():
            return Counts.from_fields(self._client.hgetall(f"{self._tag}:totals").items())

    def identity(self, *, create: bool = False) -> str | None:
        """See ``Store.identity``."""
        key = f"{self._tag}:id"
        with self._errors_translated():
            found = self._client.get(key)
            if found is None and create:
                self._client.set(key, uuid4().hex, nx=True)  # another process may have been faster
                found = self._client.get(key)
        return None if found is None else found.decode(errors="replace")

    def close(self) -> None:
        """See ``Store.close``."""
        self._client.connection_pool.disconnect()  # redis-py's own close() leaves it open before 5.0

    def __str__(self) -> str:
        """Where it is, without credentials."""
        options = self._client.connection_pool.connection_kwargs
        place = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        return f"Redis at {place}, keys {self._tag}:*"

    @contextmanager
    def _errors_translated(self) -> Iterator[None]:
        from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

        try:
            yield
        except (RedisError, OSError) as exc:
            # A ResponseError of no class of its own is an error in the call itself, such as a wrong type.
            refused = isinstance(exc, AuthenticationError | NoPermissionError) or type(exc) is ResponseError
            cause, words = _root_name(exc), "refuses the call" if refused else "cannot be used"
            raise StoreUnavailable(f"job totals: {self} {words} ({cause})", cause, refused) from exc


def connect(url: str, app: Any) -> Any:
    """A redis-py client that neither waits nor retries longer than a second."""
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as exc:  # pragma: no cover  (tested by test_package.py in a process that is not measured)
        raise ConfigurationError(
            "metrics_store is a Redis, and redis-py is not installed: pip install 'celery-health-bp[redis]'"
        ) from exc
    scheme, _, rest = url.partition("://")
    address, _, query = rest.partition("?")
    options: dict[str, Any] = {"socket_timeout": SOCKET_TIMEOUT_SECONDS, "retry": Retry(NoBackoff(), 0)}
    options.update(_options(dict(parse_qsl(query))))
    if SCHEMES[scheme] != "unix":
        options["socket_connect_timeout"] = SOCKET_TIMEOUT_SECONDS
    if SCHEMES[scheme] == "rediss":
        for use_ssl in (app.conf.redis_backend_use_ssl, app.conf.broker_use_ssl):
            options.update(_options(use_ssl if isinstance(use_ssl, Mapping) else {}))
    try:
        return redis.Redis.from_url(f"{SCHEMES[scheme]}://{address}", **options)
    except ValueError:  # its text, and its traceback, hold fragments of the URL
        raise ConfigurationError(
            "The Redis URL of the job totals cannot be parsed: percent-encode / # ? @ in its password"
        ) from None


def _root_name(exc: BaseException) -> str:
    """The class of what it began with, such as ``SSLCertVerificationError`` under a ``ConnectionError``."""
    while (cause := exc.__cause__ or exc.__context__) is not None:
        exc = cause
    return type(exc).__name__


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    """kombu's options of a Redis URL or ``broker_use_ssl`` in redis-py's words."""
    options = {name: value for name, value in given.items() if name.startswith("ssl_")}
    reqs = options.get("ssl_cert_reqs")
    if isinstance(reqs, str):
        options["ssl_cert_reqs"] = reqs.removeprefix("CERT_").lower()
    database = given.get("virtual_host", given.get("db"))
    return options if database is None else {**options, "db": int(str(database).lstrip("/") or 0)}
