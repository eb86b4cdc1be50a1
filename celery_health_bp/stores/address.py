"""URLs of the job totals, read without connecting: lists of servers, of sentinels, of nodes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import ConfigurationError

#: Schemes of our URLs (kombu's names of Redis transports among them) -> redis-py's.
SCHEMES = {
    "redis": "redis", "valkey": "redis", "rediss": "rediss", "valkeys": "rediss",
    "redis+socket": "unix", "socket": "unix", "unix": "unix",
    "sentinel": "redis", "redis+cluster": "redis", "rediss+cluster": "rediss",
}  # fmt: skip

#: What is left of a URL whose password holds one of these unescaped could be a host.
UNPARSABLE = "The Redis URL of the job totals cannot be parsed: percent-encode / # ? @ , ; in its password"

Host = tuple[str, int]


@dataclass(frozen=True)
class Address:
    """Sentinels of a master, or nodes of a cluster.

    Attributes:
        hosts: at least one.
        login: ``username`` and ``password`` for redis-py, as far as given.
        database: number of the database.
        query: options after the ``?``.
    """

    hosts: tuple[Host, ...]
    login: Mapping[str, str]
    database: int
    query: Mapping[str, str]

    @property
    def shown(self) -> str:
        """The hosts, in an order of their own: two URLs with the same hosts look alike."""
        return ",".join([f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in sorted(self.hosts)])


def scheme_of(url: str) -> str:
    """What stands before ``://``; empty if nothing does."""
    return url.partition("://")[0] if "://" in url else ""


def redis_urls(app: Any) -> str | None:
    """The Redis that a Celery app uses as broker, else as result backend: one URL, or several with ``;`` between."""
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
    """A URL of Celery's configuration, or several of them, as a list; of one empty text if there is none."""
    return [str(url) for url in given or [""]] if isinstance(given, list | tuple) else str(given or "").split(";")


def _with_tls(url: str) -> str:
    """With options for TLS, kombu uses it for these schemes too."""
    return re.sub("^(redis|valkey)://", r"\1s://", url)


def split(urls: str) -> list[str]:
    """The URLs of a list; all sentinels and all nodes of a cluster are one."""
    if scheme_of(urls) == "sentinel" or "cluster" in scheme_of(urls):
        return [urls]
    return _entries(urls)


def parse(urls: str, default_port: int) -> Address:
    """Sentinels or nodes of ``scheme://[user:password@]host:port;host:port/database?option=value``.

    ``,`` may stand for ``;``, and each may be a whole URL, as kombu wants it.

    Raises:
        ConfigurationError: that is not what it is.
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
    except ValueError:  # its text holds fragments of the URL
        raise ConfigurationError(UNPARSABLE) from None
    return Address(tuple(hosts), login, databases[0] if databases else 0, options)


def _entries(urls: str) -> list[str]:
    return re.split(r";(?=[a-z+]+://)", urls)


def _query(query: str) -> dict[str, str]:
    """The options after a ``?``; an error if what should be a server, or part of a password, stands there."""
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
