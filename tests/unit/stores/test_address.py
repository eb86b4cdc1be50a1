"""URLs of stores with several hosts, and the URLs that ``auto`` takes."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from celery_health_bp.errors import ConfigurationError
from celery_health_bp.stores.address import parse, redis_urls

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
