"""Parses URLs of the store: lists of servers, sentinels or cluster nodes. Does not connect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import ConfigurationError

#: Accepted URL schemes, those of kombu's Redis transports included -> redis-py's.
SCHEMES = {
    "redis": "redis", "valkey": "redis", "rediss": "rediss", "valkeys": "rediss",
    "redis+socket": "unix", "socket": "unix", "unix": "unix",
    "sentinel": "redis", "redis+cluster": "redis", "rediss+cluster": "rediss",
}  # fmt: skip

#: With one of these unescaped in a password, a part of the password could be taken for a host.
UNPARSABLE = "The Redis URL of the job totals cannot be parsed: percent-encode / # ? @ , ; in its password"

Host = tuple[str, int]


@dataclass(frozen=True)
class Address:
    """A parsed URL of sentinels or of cluster nodes.

    Attributes:
        hosts: hosts and ports, at least one.
        login: ``username`` and ``password`` for redis-py, if given.
        database: number of the database.
        query: options after the ``?``.
    """

    hosts: tuple[Host, ...]
    login: Mapping[str, str]
    database: int
    query: Mapping[str, str]

    @property
    def shown(self) -> str:
        """The hosts, sorted: URLs that list the same hosts in another order are shown alike."""
        return ",".join([f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in sorted(self.hosts)])


def scheme_of(url: str) -> str:
    """Return the part before ``://``, or an empty string."""
    return url.partition("://")[0] if "://" in url else ""


def redis_urls(app: Any) -> str | None:
    """Return the URL of the Redis that a Celery app uses as broker, else as result backend.

    Returns:
        One URL, several separated by ``;``, or ``None`` if neither is a Redis.

    Raises:
        ConfigurationError: a list of URLs has an unescaped ``;`` in a password.
    """
    conf = app.conf
    places = (conf.broker_write_url, conf.broker_use_ssl), (conf.result_backend, conf.redis_backend_use_ssl)
    for given, use_ssl in places:
        urls = urls_of(given)
        if scheme_of(urls[0]) in SCHEMES:
            if any("@" in url for url in urls if not scheme_of(url)):
                raise ConfigurationError(UNPARSABLE)
            found = [url for url in urls if scheme_of(url) in SCHEMES]
            return ";".join(map(_with_tls, found) if use_ssl and isinstance(use_ssl, Mapping) else found)
    return None


def urls_of(given: Any) -> list[str]:
    """Split a URL setting of Celery into a list. Without a URL, the list is ``[""]``."""
    return [str(url) for url in given or [""]] if isinstance(given, list | tuple) else str(given or "").split(";")


def _with_tls(url: str) -> str:
    """Select TLS, as kombu does for these schemes if the app has options for TLS."""
    return re.sub("^(redis|valkey)://", r"\1s://", url)


def split(urls: str) -> list[str]:
    """Return the URLs of a list. All sentinels, or all nodes of a cluster, are one URL."""
    if scheme_of(urls) == "sentinel" or "cluster" in scheme_of(urls):
        return [urls]
    return _entries(urls)


def parse(urls: str, default_port: int) -> Address:
    """Parse ``scheme://[user:password@]host:port;host:port/database?option=value``.

    Arguments:
        urls: sentinels or nodes, separated by ``;`` or ``,``. Each may be a whole URL, as in kombu.
        default_port: port of a host without one.

    Raises:
        ConfigurationError: the URL is malformed.
    """
    hosts: list[Host] = []
    login: dict[str, str] = {}
    options: dict[str, str] = {}
    databases = []
    try:
        for entry in _entries(urls):
            named, _, query = entry.partition("://")[2].partition("?")
            options = _query(query) | options
            for part in named.split(";"):
                user, _, rest = part.rpartition("@")
                names, _, database = rest.partition("/")
                hosts += [_host(name, default_port) for name in names.split(",")]
                login = login or _login(user)
                databases += [int(database)] if database else []
    except ValueError:  # its message holds fragments of the URL
        raise ConfigurationError(UNPARSABLE) from None
    return Address(tuple(hosts), login, databases[0] if databases else 0, options)


def _entries(urls: str) -> list[str]:
    return re.split(r";(?=[a-z+]+://)", urls)


def _query(query: str) -> dict[str, str]:
    """Parse the options after a ``?``.

    Raises:
        ValueError: they contain a server or a part of a password.
    """
    options = dict(parse_qsl(query))
    if "@" in query or re.search("://|[@;]", options.get("master_name", "")):
        raise ValueError
    return options


def _host(name: str, default_port: int) -> Host:
    found = urlsplit(f"//{name}")
    if not found.hostname or found.path or found.query or found.fragment:
        raise ValueError
    return unquote(found.hostname), found.port or default_port


def _login(user: str) -> dict[str, str]:
    if re.search("[/#?]", user):
        raise ValueError
    name, _, password = user.partition(":")
    given = {"username": unquote(name), "password": unquote(password)}
    return {key: value for key, value in given.items() if value}
