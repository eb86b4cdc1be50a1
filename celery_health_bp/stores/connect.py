"""Makes a Redis client for the URL of a store. It does not retry, and waits at most a second for a reply."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from ..errors import ConfigurationError
from .address import SCHEMES, UNPARSABLE, parse, scheme_of, split, urls_of

SOCKET_TIMEOUT_SECONDS = 1.0
#: Short: a frozen sentinel delays the call to the next one by this much.
SENTINEL_TIMEOUT_SECONDS = 0.3


class Server(NamedTuple):
    """A client, and its description for logs and replies.

    Attributes:
        client: a client of redis-py.
        disconnect: closes the client's connections; the next command opens new ones.
        place: URL without credentials.
        name: description without credentials.
        one_server: context manager that sends all commands of the thread to the same server.
    """

    client: Any
    disconnect: Callable[[], None]
    place: str
    name: str
    one_server: Callable[[], AbstractContextManager[None]] = nullcontext


def connect(urls: str, app: Any) -> Server:
    """Make a client for a URL. Connects on first use.

    Arguments:
        urls: one URL, or several separated by ``;``, of which the first reachable server is used.
        app: the Celery app, which supplies options for TLS and sentinels.

    Raises:
        ConfigurationError: redis-py is not installed, a URL cannot be parsed,
            the name of the sentinels' master is missing, or a cluster's URL
            selects a database other than 0.
    """
    try:
        from .followers import FirstReachable
    except ImportError as exc:  # pragma: no cover  (tested by test_package.py in a process that is not measured)
        raise ConfigurationError(
            "metrics_store is a Redis, and redis-py is not installed: pip install 'celery-health-bp[redis]'"
        ) from exc
    try:
        servers = [_connect(url, app) for url in split(urls)]
    except ConfigurationError:
        raise
    except (KeyError, ValueError):  # their message and their traceback hold fragments of the URL
        raise ConfigurationError(UNPARSABLE) from None
    if len(servers) == 1:
        return servers[0]
    client = FirstReachable([server.client for server in servers])
    places, names = zip(*[(server.place, server.name) for server in servers], strict=True)
    return Server(client, client.disconnect, ";".join(places), " or ".join(names), client.one_server)


def _connect(url: str, app: Any) -> Server:
    scheme = scheme_of(url)
    if scheme == "sentinel":
        return _sentinels(url, app)
    if "cluster" in scheme:
        return _cluster(url, app)
    return _server(url, app)


def _server(url: str, app: Any) -> Server:
    from redis import Redis

    scheme = SCHEMES[scheme_of(url)]
    rest = url.partition("://")[2]
    if scheme != "unix" and "@" in rest[len(re.split("[/?#]", rest)[0]) :]:  # part of an unescaped password
        raise ConfigurationError(UNPARSABLE)
    address, _, query = rest.partition("?")
    options = _limits() | _options(dict(parse_qsl(query)))
    if scheme == "unix":
        del options["socket_connect_timeout"]
    if scheme == "rediss":
        options |= _tls(app)
    client = Redis.from_url(f"{scheme}://{address}", **options)
    found = client.connection_pool.connection_kwargs
    database = found.get("db") or 0
    if "path" in found:
        place, name = f"redis+socket://{found['path']}?virtual_host={database}", found["path"]
    else:
        name = f"{found.get('host', 'localhost')}:{found.get('port', 6379)}"
        place = f"redis://{name}/{database}"
    return Server(client, client.connection_pool.disconnect, place, f"Redis at {name}")


def _sentinels(urls: str, app: Any) -> Server:
    from redis.sentinel import Sentinel

    address = parse(urls, 26379)
    given = _transport_options(app)
    master = address.query.get("master_name") or given.get("master_name")
    if not master:
        raise ConfigurationError(
            "The job totals are to be kept on the master of sentinels, and its name is not known: "
            "give metrics_store=sentinel://...?master_name=NAME, or master_name in broker_transport_options"
        )
    options = {**_limits(), **address.login, "db": address.database, **_options(address.query)}
    if _sentinels_use_tls(address.query.get("ssl"), app):
        options |= {"ssl": True, **_tls(app)}
    short = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), SENTINEL_TIMEOUT_SECONDS)
    sentinel = Sentinel(
        address.hosts,
        min_other_sentinels=given.get("min_other_sentinels", 0),
        sentinel_kwargs={**given.get("sentinel_kwargs", {}), **_limits(), **short},
        **options,
    )
    client = sentinel.master_for(master)

    def disconnect() -> None:
        for each in (client, *sentinel.sentinels):
            each.connection_pool.disconnect()

    place = f"sentinel://{address.shown}/{options['db']}?master_name={master}"
    return Server(client, disconnect, place, f"Redis master {master} of sentinels {address.shown}")


def _cluster(url: str, app: Any) -> Server:
    from .followers import SlotOwner

    address = parse(url, 6379)
    options = {**_limits(), **address.login, **_options(address.query)}
    if options.pop("db", 0) or address.database:
        raise ConfigurationError("The job totals are to be kept in a Redis Cluster, which has database 0 alone")
    if SCHEMES[scheme_of(url)] == "rediss":
        options |= {"ssl": True, **_tls(app)}
    client = SlotOwner(address.hosts, **options)
    return Server(
        client, client.disconnect, f"redis+cluster://{address.shown}", f"Redis Cluster with nodes {address.shown}"
    )


def _limits() -> dict[str, Any]:
    """Return options for short timeouts and no retries by redis-py."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    timeouts = {"socket_timeout": SOCKET_TIMEOUT_SECONDS, "socket_connect_timeout": SOCKET_TIMEOUT_SECONDS}
    return {**timeouts, "retry": Retry(NoBackoff(), 0)}


def _transport_options(app: Any) -> Mapping[str, Any]:
    """Return the transport options that name a master: the broker's, else the result backend's, else none."""
    found = (app.conf.broker_transport_options, app.conf.result_backend_transport_options)
    return next((options for options in found if options and options.get("master_name")), {})


def _sentinels_use_tls(given: str | None, app: Any) -> bool:
    """Return the URL's ``ssl``, else whether the app uses TLS with sentinels (and not with another kind of broker)."""
    if given is not None:
        return given.lower() in ("true", "yes", "1")
    conf = app.conf
    places = (conf.broker_write_url, conf.broker_use_ssl), (conf.result_backend, conf.redis_backend_use_ssl)
    return any(use_ssl and scheme_of(urls_of(url)[0]) == "sentinel" for url, use_ssl in places)


def _tls(app: Any) -> dict[str, Any]:
    """Return the app's options for TLS."""
    options: dict[str, Any] = {}
    for use_ssl in (app.conf.redis_backend_use_ssl, app.conf.broker_use_ssl):
        options |= _options(use_ssl if isinstance(use_ssl, Mapping) else {})
    return options


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Translate kombu's options of a Redis URL or of ``broker_use_ssl`` to those of redis-py."""
    options = {name: value for name, value in given.items() if name.startswith("ssl_")}
    reqs = options.get("ssl_cert_reqs")
    if isinstance(reqs, str):
        options["ssl_cert_reqs"] = reqs.removeprefix("CERT_").lower()
    database = given.get("virtual_host", given.get("db"))
    return options if database is None else {**options, "db": int(str(database).lstrip("/") or 0)}
