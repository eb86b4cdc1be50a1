"""The broker's URLs, and its address without credentials for messages.

Messages name the broker by its parsed URL, never by the text of the URL or of an exception: these may
contain parts of a password.
"""

from __future__ import annotations

import re
from typing import Any

from kombu.transport import resolve_transport

from ..errors import BrokerUnreachable

SENTINEL = "sentinel"

#: Schemes for which kombu has no transport -> what to do instead.
NO_TRANSPORT = {
    "valkey": "Write redis:// in broker_url: Valkey speaks the protocol of Redis",
    "valkeys": "Write rediss:// in broker_url: Valkey speaks the protocol of Redis",
    **dict.fromkeys(
        ("rediscluster", "redis+cluster", "rediss+cluster", "redis-cluster"),
        "Use a single Redis or sentinel:// in broker_url; a cluster can hold the job totals (metrics_store)",
    ),
}

#: Scheme -> name of kombu's extra, where they differ.
EXTRAS = {"sqla": "sqlalchemy", "sqlalchemy": "sqlalchemy"}


def broker_urls(app: Any) -> list[Any]:
    """Return the app's broker URLs in the order in which kombu tries them; the URLs of sentinels are one entry."""
    given = app.conf.broker_write_url
    urls = _split(given)
    return [given] if len(urls) == 1 or _scheme(urls[0]) == SENTINEL else urls


def broker_place(app: Any) -> str:
    """Return ``transport://host:port`` of the app's broker; several brokers are joined with ``or``.

    Raises:
        BrokerUnreachable: kombu has no such transport, its library is not installed, or the URL cannot be
            parsed. An unescaped ``/``, ``#`` or ``?`` in a password ends the host part of the URL early.
    """
    return " or ".join([place_of(app, url) for url in broker_urls(app)])


def place_of(app: Any, given: Any) -> str:
    """Return ``transport://host:port`` of one entry of ``broker_urls``.

    Raises:
        BrokerUnreachable: see ``broker_place``.
    """
    urls = _split(given)
    for url in urls:
        _require_parseable(url)
    if _scheme(urls[0]) != SENTINEL:
        return _server(app, given)
    hosts = ", ".join([_server(app, url).removeprefix("sentinel://") for url in urls])
    return f"sentinel://{hosts} (master {master_name(app) or 'not named'})"


def master_name(app: Any) -> str | None:
    """Return the name of the master that the broker's sentinels watch, ``None`` if it is not set."""
    name = app.conf.broker_transport_options.get("master_name")
    return None if name is None else str(name)


def _split(given: Any) -> list[str]:
    if isinstance(given, list | tuple):
        return [str(url) for url in given] or [""]
    return str(given or "").split(";")


def _scheme(url: str) -> str:
    return url.partition("://")[0] if "://" in url else ""


def _require_parseable(url: str) -> None:
    """Raise for a scheme without transport, and for an unescaped ``/ # ? @ ;`` in a password."""
    scheme = _scheme(url)
    if scheme in NO_TRANSPORT:
        raise BrokerUnreachable(f"Celery has no transport for {scheme}:// brokers", NO_TRANSPORT[scheme])
    authority, _, rest = (url.partition("://")[2] if scheme else url).partition("/")
    if "@" in rest or re.search(r"[#?].*@" if scheme else r"[#?@]", authority):
        raise _malformed()


def _server(app: Any, given: Any) -> str:
    scheme = _scheme(_split(given)[0])
    try:
        connection = app.connection_for_write(given)
        transport = connection.transport_cls if isinstance(connection.transport_cls, str) else "broker"
        host, port = connection.hostname, connection.port
    except Exception as exc:  # kombu's text may quote the URL
        raise _problem(scheme) from exc
    try:
        default_port = connection.get_transport_cls().default_port
    except ImportError as exc:
        raise not_installed(transport) from exc
    except Exception:  # a custom transport may have none
        default_port = None
    if "://" in str(host or ""):  # a transport that parses its URL itself: host is the URL, or its part after "+"
        return _nested(transport, str(host))
    port = port or default_port
    return f"{transport}://{host or 'localhost'}" + (f":{port}" if port else "")


def _nested(transport: str, url: str) -> str:
    """Return the address of ``sqla+sqlite:///file``, ``sqla+postgresql://...`` or a Unix socket."""
    scheme, _, location = url.partition("://")
    authority, _, path = location.partition("/")
    if scheme == "socket":
        return f"{transport}:// on a Unix socket"
    if not authority:
        return f"{transport}+{scheme}:///{re.split('[?#]', path)[0]}"
    return f"{transport}+{scheme}://{authority.rpartition('@')[2]}"


def _problem(scheme: str) -> BrokerUnreachable:
    """Return why kombu cannot create a connection for a URL with this scheme."""
    name = scheme.partition("+")[0]
    try:
        resolve_transport(name)
    except KeyError:
        if re.fullmatch(r"[a-z][a-z0-9-]*", scheme):
            return BrokerUnreachable(
                f"Celery has no transport for {scheme}:// brokers", "Check broker_url: redis:// and amqp:// are brokers"
            )
    except Exception:  # kombu's Redis transport raises AttributeError without redis-py
        return not_installed(name)
    return _malformed()


def not_installed(scheme: str) -> BrokerUnreachable:
    """Return the error for a transport whose library is missing."""
    ours = scheme in ("redis", "rediss", SENTINEL)
    extra = "celery-health-bp[redis]" if ours else f"kombu[{EXTRAS.get(scheme, scheme)}]"
    return BrokerUnreachable(f"The library for {scheme}:// brokers is not installed", f"pip install '{extra}'")


def _malformed() -> BrokerUnreachable:
    return BrokerUnreachable(
        "The broker URL cannot be parsed",
        "Check broker_url: characters such as / # ? @ in a password must be percent-encoded",
    )
