"""The place of a broker in messages, and the URLs that are refused."""

from __future__ import annotations

import pytest
from celery import Celery

from celery_health_bp.asking.place import broker_place
from celery_health_bp.errors import BrokerUnreachable

PLACES = {
    "one": ("redis://:s3cr3t@h:1/0", "redis://h:1"),
    "no port": ("amqp://u:s3cr3t@h//", "amqp://h:5672"),
    "kombu's list": ("redis://:s3cr3t@a:1;redis://b:2/3", "redis://a:1 or redis://b:2"),
    "a Python list": (["redis://:s3cr3t@a:1", "redis://b"], "redis://a:1 or redis://b:6379"),
    "sentinels": ("sentinel://:s3cr3t@a:1/0;sentinel://b", "sentinel://a:1, b:26379 (master mymaster)"),
    "a list of sentinels": (["sentinel://a:1", "sentinel://b:2"], "sentinel://a:1, b:2 (master mymaster)"),
    "a database file": ("sqla+sqlite:///some/file.db?s3cr3t", "sqla+sqlite:///some/file.db"),
    "a database server": ("sqla+postgresql://u:s3cr3t@h:5/db", "sqla+postgresql://h:5"),
    "a Unix socket": ("redis+socket://:s3cr3t@/file.sock", "redis:// on a Unix socket"),
}


@pytest.mark.parametrize(("url", "place"), PLACES.values(), ids=PLACES)
def test_a_broker_is_named_by_transport_host_and_port(url: str | list[str], place: str) -> None:
    """The place of each kind of broker holds no user name and no password."""
    app = Celery(broker=url, broker_transport_options={"master_name": "mymaster"}, set_as_current=False)
    assert broker_place(app) == place


REFUSED = {
    "valkey://:s3cr3t@h:1/0": ("Celery has no transport for valkey:// brokers", "redis://"),
    "valkeys://h:1/0": ("Celery has no transport for valkeys:// brokers", "rediss://"),
    "rediscluster://:s3cr3t@h:1": ("Celery has no transport for rediscluster:// brokers", "metrics_store"),
    "redis+cluster://:s3cr3t@h:1": ("Celery has no transport for redis+cluster:// brokers", "sentinel://"),
    "redis://a:1;valkey://:s3cr3t@h:1": ("Celery has no transport for valkey:// brokers", "redis://"),
    "nonsense://h:1": ("Celery has no transport for nonsense:// brokers", "broker_url"),
    "mongodb://u:s3cr3t@h:1": ("The library for mongodb:// brokers is not installed", "pip install 'kombu[mongodb]'"),
    "redis://h:port": ("The broker URL cannot be parsed", "percent-encoded"),
    "redis://:12;s3cr3t@h:1": ("The broker URL cannot be parsed", "percent-encoded"),
    "redis://:12/s3cr3t@h:1": ("The broker URL cannot be parsed", "percent-encoded"),
    "user:s3cr3t@h": ("The broker URL cannot be parsed", "percent-encoded"),
}


@pytest.mark.parametrize("url", REFUSED)
def test_a_wrong_url_is_refused_with_its_reason(url: str) -> None:
    """The error names the scheme, the advice says what to write, and neither shows the password."""
    error, advice = REFUSED[url]
    with pytest.raises(BrokerUnreachable) as refused:
        broker_place(Celery(broker=url, set_as_current=False))
    assert str(refused.value) == error
    assert advice in refused.value.recommendation
    assert "s3cr3t" not in refused.value.recommendation
