"""URLs of the job totals as users write them: every entry of a list counts, and none shows a password."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from redis import Redis

from celery_health_bp import Settings
from celery_health_bp.errors import ConfigurationError
from celery_health_bp.stores import RedisStore, open_store
from celery_health_bp.stores.address import Host, parse
from celery_health_bp.stores.followers import SlotOwner

from .servers import free_port


def opened(url: str, **conf: Any) -> RedisStore:
    """The store of that URL; nothing is connected."""
    app = Celery(set_as_current=False, broker="memory://")
    app.conf.update(conf)
    store = open_store(app, Settings(metrics_store=url))
    assert isinstance(store, RedisStore)
    return store


def test_each_entry_of_a_list_may_have_a_query() -> None:
    """Sentinels as whole URLs with the same query are all asked, and no password of theirs is shown."""
    store = opened("sentinel://h:1/0?master_name=m;sentinel://user:s3cret@h2:1/0?master_name=m")
    assert store.place == "sentinel://h:1,h2:1/0?master_name=m"
    assert "s3cret" not in str(store)
    found = parse("sentinel://h:1/0?master_name=m;sentinel://user:s3cret@h2:1/0?master_name=m", 26379)
    assert found.login == {"username": "user", "password": "s3cret"}


@pytest.mark.parametrize(
    "query", ["master_name=m;user:s3cret@h2:1/0", "master_name=m;h2:1", "master_name=m%40h", "x=1@h2"]
)
def test_a_query_that_holds_a_server_is_refused(query: str) -> None:
    """A server behind the query is no name of a master: it is refused and not shown."""
    with pytest.raises(ConfigurationError, match="percent-encode") as refused:
        opened(f"sentinel://h:1/0?{query}")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "urls", ["redis://a;http://b", "redis://a;HTTP://b", "sentinel://a:1;amqp://b", "redis://a;unix://"]
)
def test_each_entry_of_a_list_must_be_a_redis(urls: str) -> None:
    """One entry of another kind makes the setting wrong, wherever it stands."""
    with pytest.raises(ConfigurationError, match="metrics_store"):
        Settings(metrics_store=urls)


@pytest.mark.parametrize(
    "url",
    [
        *("redis://h:1/x?virtual_host=s3cret", "http://s3cret", "redis://h:1/0;http://s3cret"),
        *(f"redis://user:12{mark}s3cret@h:1/0" for mark in "/?#"),
    ],
)
def test_a_url_that_redis_does_not_know_is_a_wrong_setting(url: str) -> None:
    """Whatever is wrong with a URL is told as such, without the URL."""
    with pytest.raises(ConfigurationError, match="cannot be parsed") as refused:
        RedisStore.from_url(url, Celery(set_as_current=False), Settings())
    assert "s3cret" not in str(refused.value)


class LeftMeanwhile(dict[Host, Any]):
    """Clients of nodes, which another thread drops after this one has seen them."""

    def keys(self) -> Any:
        """What was there a moment ago."""
        seen = set(super().keys())
        self.clear()
        return seen


def test_a_node_that_another_thread_has_dropped_is_no_error() -> None:
    """Two threads learn the nodes of a cluster at once: the slower one goes on."""
    owner = SlotOwner([("127.0.0.1", free_port())])
    owner._clients = LeftMeanwhile({("gone", 1): Redis()})
    owner._learn(("127.0.0.1", free_port()))


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
def test_tls_is_that_of_the_server_that_is_used(case: str) -> None:
    """The options for TLS of broker or backend are for what is taken from there, and for nothing else."""
    url, conf, tls = TLS[case]
    client = opened(url, **conf)._client
    for each in getattr(client, "_clients", [client]):
        pool = each.connection_pool
        assert ("SSL" in pool.connection_class.__name__) is tls
