"""Opening a store: the server behind each URL, wrong URLs, and TLS options."""

from __future__ import annotations

import re
from typing import Any

import pytest
from celery import Celery

from celery_health_bp import Settings
from celery_health_bp.errors import ConfigurationError
from celery_health_bp.stores import RedisStore, open_store
from celery_health_bp.stores.address import parse
from tests.support.processes import ROOT


def test_a_cluster_has_no_databases() -> None:
    """A database other than 0 is refused when the store is opened."""
    with pytest.raises(ConfigurationError, match="database 0 alone"):
        open_store(Celery(set_as_current=False), Settings(metrics_store="redis+cluster://h:1/2"))


def test_auto_takes_the_master_of_a_result_backend() -> None:
    """With another kind of broker, the master's name comes from the result backend's transport options."""
    app = Celery(broker="amqp://", backend="sentinel://:hunter2@a:1/2;sentinel://b:2/2", set_as_current=False)
    app.conf.result_backend_transport_options = {"master_name": "results"}
    store = open_store(app, Settings())
    assert store is not None
    assert store.place == "sentinel://a:1,b:2/2?master_name=results"


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
