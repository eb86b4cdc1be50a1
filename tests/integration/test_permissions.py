"""Least privilege: a missing permission is named in the error."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask

from tests.support.nodes import ScriptedNode
from tests.support.permissions import PASSWORD, grant, granted
from tests.support.probes import probe
from tests.support.servers import RabbitServer, RedisServer

DENIED = "denies the user a permission"


@pytest.mark.parametrize("missing", ["-smembers", "-publish", "resetkeys", "resetchannels"])
def test_a_missing_permission_on_redis_is_reported(
    missing: str, redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """A Redis that denies a command, a key or a channel is 503: a permission is missing, not the password wrong."""
    url = grant(redis, granted("redis")[0], [f"ACL SETUSER celery {missing}"])
    with ScriptedNode(celery_app, "a@t"), Celery("upstream", broker=url, set_as_current=False) as restricted:
        found = probe(make_app(restricted, timeout_seconds=1))
    assert found.status == 503
    assert DENIED in found.error
    assert "docs/permissions.md" in found.advice


@pytest.mark.parametrize("missing", ["configure", "write", "read"])
def test_a_missing_permission_on_rabbitmq_is_reported(
    missing: str, rabbit: RabbitServer, make_app: Callable[..., Flask]
) -> None:
    """A RabbitMQ that accepts the user, and denies one of the three permissions, is 503 with that reason."""
    patterns = ["" if kind == missing else ".*" for kind in ("configure", "write", "read")]
    rabbit.control("add_user", "celery", PASSWORD)
    try:
        rabbit.control("set_permissions", "celery", *patterns)
        url = rabbit.url.replace("guest:guest", f"celery:{PASSWORD}")
        with Celery("upstream", broker=url, set_as_current=False) as restricted:
            found = probe(make_app(restricted, timeout_seconds=1))
        assert found.status == 503
        assert DENIED in found.error
        assert "docs/permissions.md" in found.advice
    finally:
        rabbit.control("delete_user", "celery")
