"""URLs of stores: what is read from them, what is refused, and which options a connection gets."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from flask import Flask
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from celery_health_bp import Settings
from celery_health_bp.errors import ConfigurationError
from celery_health_bp.stores import RedisStore, open_store
from celery_health_bp.stores.address import Host, parse, redis_urls
from celery_health_bp.stores.followers import SlotOwner
from tests.support.probes import probe
from tests.support.processes import ROOT
from tests.support.servers import free_port

URLS = {
    "redis+cluster://h:1": ((("h", 1),), {}, 0),
    "redis+cluster://:p%40ss@h:1,[::1]:2/0?ssl_cert_reqs=none": ((("h", 1), ("::1", 2)), {"password": "p@ss"}, 0),
    "sentinel://u:p,q@a;b:2/3": ((("a", 7), ("b", 2)), {"username": "u", "password": "p,q"}, 3),
    "sentinel://:p@a:1/2;sentinel://:p@b:2/2": ((("a", 1), ("b", 2)), {"password": "p"}, 2),
}


@pytest.mark.parametrize("url", URLS)
def test_a_url_of_several_hosts_is_read(url: str) -> None:
    """Hosts, login and database are read from our form of the URL and from kombu's."""
    address = parse(url, 7)
    assert (address.hosts, address.login, address.database) == URLS[url]


@pytest.mark.parametrize(
    "url",
    ["redis+cluster://:s3#cr3t@h", "redis+cluster://:s3/cr3t@h", "redis+cluster://:12,cr3t", "sentinel://h:p/a"],
)
def test_a_malformed_url_of_several_hosts_is_refused(url: str) -> None:
    """The rest of an unescaped password is neither taken for a host nor shown."""
    with pytest.raises(ConfigurationError, match="percent-encode") as refused:
        parse(url, 7)
    assert "cr3t" not in str(refused.value)


def test_a_cluster_has_no_databases() -> None:
    """A database other than 0 is refused when the store is opened."""
    with pytest.raises(ConfigurationError, match="database 0 alone"):
        open_store(Celery(set_as_current=False), Settings(metrics_store="redis+cluster://h:1/2"))


PASSWORD = "hunter2"


def test_auto_takes_the_master_of_a_result_backend() -> None:
    """With another kind of broker, the master's name comes from the result backend's transport options."""
    app = Celery(broker="amqp://", backend=f"sentinel://:{PASSWORD}@a:1/2;sentinel://b:2/2", set_as_current=False)
    app.conf.result_backend_transport_options = {"master_name": "results"}
    store = open_store(app, Settings())
    assert store is not None
    assert store.place == "sentinel://a:1,b:2/2?master_name=results"


def test_a_sentinel_broker_needs_the_name_of_a_master(make_app: Callable[..., Flask]) -> None:
    """The error says that the name is missing, and the advice where to set it."""
    found = probe(make_app(Celery(broker="sentinel://127.0.0.1:1", set_as_current=False), metrics_store="control"))
    assert found.error == "Broker sentinel://127.0.0.1:1 (master not named) needs the name of a master"
    assert found.advice == "Set broker_transport_options = {'master_name': NAME}"


FIRST_URLS = {
    "kombu's list": ({"broker": "redis://a:1;redis://b:2"}, "redis://a:1;redis://b:2"),
    "a Python list": ({"broker": ["redis://a:1", "valkey://b:2"]}, "redis://a:1;valkey://b:2"),
    "the result backend": ({"broker": "amqp://", "backend": "redis://a:1;redis://b:2"}, "redis://a:1;redis://b:2"),
    "others in it": ({"broker": ["redis://a:1", "amqp://b"]}, "redis://a:1"),
    "others first": ({"broker": ["amqp://b", "redis://a:1"]}, None),
    "sentinels": ({"broker": "sentinel://a:1;sentinel://b:2"}, "sentinel://a:1;sentinel://b:2"),
    "nothing": ({"broker": "amqp://"}, None),
}


@pytest.mark.parametrize(("urls", "found"), FIRST_URLS.values(), ids=FIRST_URLS)
def test_auto_takes_the_whole_list(urls: dict[str, Any], found: str | None) -> None:
    """``auto`` takes all Redis URLs of the broker, or else those of the result backend."""
    assert redis_urls(Celery(**urls, set_as_current=False)) == found


def test_each_documented_url_opens_a_store() -> None:
    """Every form of ``metrics_store`` in docs/redis.md opens a store whose place has no password."""
    urls = re.findall(r"^\| `(\w\S*://\S+)` \|", (ROOT / "docs" / "redis.md").read_text(), re.MULTILINE)
    stores = [open_store(Celery(set_as_current=False), Settings(metrics_store=url)) for url in urls]
    assert [store.place for store in stores if store is not None] == [
        "redis://host:6379/0",
        "sentinel://host:26379,host2:26379/0?master_name=mymaster",
        "redis+cluster://host:6379,host2:6379",
        "redis://host:6379/0;redis://host2:6379/0",
    ]


def test_a_semicolon_in_a_password_is_refused() -> None:
    """An unescaped ``;`` splits the URL; its halves are neither taken for servers nor shown."""
    with pytest.raises(ConfigurationError, match="percent-encode") as refused:
        open_store(Celery(broker="redis://:12;s3cr3t@h:1/0", set_as_current=False), Settings())
    assert "s3cr3t" not in str(refused.value)


def opened(url: str, **conf: Any) -> RedisStore:
    """Open the store of this URL; nothing is connected."""
    app = Celery(set_as_current=False, broker="memory://")
    app.conf.update(conf)
    store = open_store(app, Settings(metrics_store=url))
    assert isinstance(store, RedisStore)
    return store


def test_each_entry_of_a_list_may_have_a_query() -> None:
    """Sentinels as whole URLs with the same query are all used, and no password is shown."""
    store = opened("sentinel://h:1/0?master_name=m;sentinel://user:s3cret@h2:1/0?master_name=m")
    assert store.place == "sentinel://h:1,h2:1/0?master_name=m"
    assert "s3cret" not in str(store)
    found = parse("sentinel://h:1/0?master_name=m;sentinel://user:s3cret@h2:1/0?master_name=m", 26379)
    assert found.login == {"username": "user", "password": "s3cret"}


@pytest.mark.parametrize(
    "query", ["master_name=m;user:s3cret@h2:1/0", "master_name=m;h2:1", "master_name=m%40h", "x=1@h2"]
)
def test_a_query_that_contains_a_server_is_refused(query: str) -> None:
    """A server after the query is not taken for a master's name: the URL is refused and not shown."""
    with pytest.raises(ConfigurationError, match="percent-encode") as refused:
        opened(f"sentinel://h:1/0?{query}")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "urls", ["redis://a;http://b", "redis://a;HTTP://b", "sentinel://a:1;amqp://b", "redis://a;unix://"]
)
def test_each_entry_of_a_list_must_be_a_redis(urls: str) -> None:
    """A single entry of another kind, at any position, makes the setting wrong."""
    with pytest.raises(ConfigurationError, match="metrics_store"):
        Settings(metrics_store=urls)


@pytest.mark.parametrize(
    "url",
    [
        *("redis://h:1/x?virtual_host=s3cret", "http://s3cret", "redis://h:1/0;http://s3cret"),
        *(f"redis://user:12{mark}s3cret@h:1/0" for mark in "/?#"),
    ],
)
def test_a_url_that_redis_cannot_parse_is_a_wrong_setting(url: str) -> None:
    """The error says that the URL cannot be parsed, and does not contain it."""
    with pytest.raises(ConfigurationError, match="cannot be parsed") as refused:
        RedisStore.from_url(url, Celery(set_as_current=False), Settings())
    assert "s3cret" not in str(refused.value)


class DroppedMeanwhile(dict[Host, Any]):
    """Clients by node; each is removed, as by another thread, as soon as its key was read."""

    def keys(self) -> Any:
        """Return the keys, and remove them."""
        seen = set(super().keys())
        self.clear()
        return seen


def test_two_threads_may_drop_the_same_node() -> None:
    """A thread that finds a client already dropped by another one raises nothing."""
    owner = SlotOwner([("127.0.0.1", free_port())], retry=Retry(NoBackoff(), 0))
    owner._clients = DroppedMeanwhile({("gone", 1): Redis()})
    owner._remember(("127.0.0.1", free_port()))


SENTINELS = "sentinel://h:1/0?master_name=m"

TLS = {
    "a broker of another kind": (SENTINELS, {"broker_url": "amqp://", "broker_use_ssl": True}, False),
    "its own broker": (SENTINELS, {"broker_url": "sentinel://h:1", "broker_use_ssl": True}, True),
    "another broker and options for the backend": (
        SENTINELS,
        {"result_backend": "redis://", "redis_backend_use_ssl": {"ssl_cert_reqs": "none"}},
        False,
    ),
    "its own backend": (
        SENTINELS,
        {"result_backend": "sentinel://h:1", "redis_backend_use_ssl": {"ssl_cert_reqs": "none"}},
        True,
    ),
    "the URL says so": (SENTINELS + "&ssl=true", {}, True),
    "the URL says no": (SENTINELS + "&ssl=false", {"broker_url": "sentinel://h:1", "broker_use_ssl": True}, False),
    "auto, options of the broker": (
        "auto",
        {"broker_url": "redis://h", "broker_use_ssl": {"ssl_cert_reqs": "none"}},
        True,
    ),
    "auto, a list": ("auto", {"broker_url": "valkey://h;redis://h", "broker_use_ssl": {"ssl_cert_reqs": "none"}}, True),
    "auto, True alone, which kombu ignores": ("auto", {"broker_url": "redis://h", "broker_use_ssl": True}, False),
    "auto, options of the backend": (
        "auto",
        {"result_backend": "redis://h", "redis_backend_use_ssl": {"ssl_cert_reqs": "none"}},
        True,
    ),
    "auto, options of another broker": (
        "auto",
        {"broker_url": "amqp://", "broker_use_ssl": {"ca_certs": "x"}, "result_backend": "redis://h"},
        False,
    ),
    "a URL of its own": ("redis://h", {"broker_url": "redis://b", "broker_use_ssl": {"ssl_cert_reqs": "none"}}, False),
}


@pytest.mark.parametrize("case", TLS)
def test_tls_options_follow_the_server_that_is_used(case: str) -> None:
    """TLS options of broker or backend apply to a store that is taken from there, and to no other one."""
    url, conf, tls = TLS[case]
    client = opened(url, **conf)._client
    for each in getattr(client, "_clients", [client]):
        pool = each.connection_pool
        assert ("SSL" in pool.connection_class.__name__) is tls
