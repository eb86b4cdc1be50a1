"""Where the broker is: its URLs, and their names without credentials.

Every sentence on the broker names it this way: from the parsed URL, never from
the URL's text or an exception's, which may hold parts of a password.
"""

from __future__ import annotations

import re
from typing import Any

from kombu.transport import resolve_transport

from ..errors import BrokerUnreachable

SENTINEL = "sentinel"

#: Schemes that look like a broker's, and what to do instead: kombu has no transport for them.
NO_TRANSPORT = {
    "valkey": "Write redis:// in broker_url: Valkey speaks the protocol of Redis",
    "valkeys": "Write rediss:// in broker_url: Valkey speaks the protocol of Redis",
    **dict.fromkeys(
        ("rediscluster", "redis+cluster", "rediss+cluster", "redis-cluster"),
        "Use a single Redis or sentinel:// in broker_url; a cluster can hold the job totals (metrics_store)",
    ),
}

#: kombu's names of extras, where they are not the scheme.
EXTRAS = {"sqla": "sqlalchemy", "sqlalchemy": "sqlalchemy"}


def broker_urls(app: Any) -> list[Any]:
    """What may follow one another as the app's broker, in kombu's order: URLs, or all URLs of sentinels in one."""
    given = app.conf.broker_write_url
    urls = _split(given)
    return [given] if len(urls) == 1 or _scheme(urls[0]) == SENTINEL else urls


def broker_place(app: Any) -> str:
    """``transport://host:port`` of the app's broker, without credentials; of several: ``... or ...``.

    Raises:
        BrokerUnreachable: kombu has no such transport, its library is not
            installed, or the URL cannot be parsed. An unescaped ``/``, ``#`` or
            ``?`` in a password moves its rest into other parts of the URL.
    """
    return " or ".join([place_of(app, url) for url in broker_urls(app)])


def place_of(app: Any, given: Any) -> str:
    """The same of one entry of ``broker_urls``."""
    urls = _split(given)
    for url in urls:
        _see_that_it_parses(url)
    if _scheme(urls[0]) != SENTINEL:
        return _server(app, given)
    hosts = ", ".join([_server(app, url).removeprefix("sentinel://") for url in urls])
    return f"sentinel://{hosts} (master {master_name(app) or 'not named'})"


def master_name(app: Any) -> str | None:
    """The name of the master that the broker's sentinels watch."""
    name = app.conf.broker_transport_options.get("master_name")
    return None if name is None else str(name)


def _split(given: Any) -> list[str]:
    if isinstance(given, list | tuple):
        return [str(url) for url in given] or [""]
    return str(given or "").split(";")


def _scheme(url: str) -> str:
    return url.partition("://")[0] if "://" in url else ""


def _see_that_it_parses(url: str) -> None:
    """Refuse a scheme without transport, and what an unescaped ``/ # ? @ ;`` in a password makes of a URL."""
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
    except Exception as exc:  # whatever kombu raises here may quote the URL
        raise _problem(scheme) from exc
    try:
        default_port = connection.get_transport_cls().default_port
    except ImportError as exc:
        raise not_installed(transport) from exc
    except Exception:  # a transport of the user's own may have none
        default_port = None
    if "://" in str(host or ""):  # the transport parses its URL itself: host is all of it, or what follows the "+"
        return _nested(transport, str(host))
    port = port or default_port
    return f"{transport}://{host or 'localhost'}" + (f":{port}" if port else "")


def _nested(transport: str, url: str) -> str:
    """The place of ``sqla+sqlite:///file``, ``sqla+postgresql://...`` or a Unix socket."""
    scheme, _, location = url.partition("://")
    authority, _, path = location.partition("/")
    if scheme == "socket":
        return f"{transport}:// on a Unix socket"
    if not authority:
        return f"{transport}+{scheme}:///{re.split('[?#]', path)[0]}"
    return f"{transport}+{scheme}://{authority.rpartition('@')[2]}"


def _problem(scheme: str) -> BrokerUnreachable:
    """Why kombu makes no connection of a URL with this scheme."""
    name = scheme.partition("+")[0]
    try:
        resolve_transport(name)
    except KeyError:
        if re.fullmatch(r"[a-z][a-z0-9-]*", scheme):
            return BrokerUnreachable(
                f"Celery has no transport for {scheme}:// brokers", "Check broker_url: redis:// and amqp:// are brokers"
            )
    except Exception:  # kombu's redis raises an AttributeError where redis-py is missing
        return not_installed(name)
    return _malformed()


def not_installed(scheme: str) -> BrokerUnreachable:
    """The problem of a transport whose library is missing."""
    ours = scheme in ("redis", "rediss", SENTINEL)
    extra = "celery-health-bp[redis]" if ours else f"kombu[{EXTRAS.get(scheme, scheme)}]"
    return BrokerUnreachable(f"The library for {scheme}:// brokers is not installed", f"pip install '{extra}'")


def _malformed() -> BrokerUnreachable:
    return BrokerUnreachable(
        "The broker URL cannot be parsed",
        "Check broker_url: characters such as / # ? @ in a password must be percent-encoded",
    )
