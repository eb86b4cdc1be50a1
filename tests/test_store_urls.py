"""URLs of the job totals as users write them: every entry of a list counts, and none shows a password."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from celery_health_bp import Settings
from celery_health_bp.errors import ConfigurationError
from celery_health_bp.stores import RedisStore, open_store
from celery_health_bp.stores.address import parse


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
