"""The blueprint in Flask applications: prefixes, routes, several blueprints."""

from __future__ import annotations

import re

import pytest
from celery import Celery
from flask import Flask
from flask.cli import FlaskGroup

from celery_health_bp import CeleryHealth, create_blueprint


def make_health() -> CeleryHealth:
    """Return the health of a new app on the memory transport."""
    return CeleryHealth(lambda: Celery("upstream", broker="memory://"))


def test_the_factory_is_called_once_on_first_use() -> None:
    """Registering the blueprint does not call the factory; two uses call it once."""
    calls: list[int] = []

    def factory() -> Celery:
        calls.append(1)
        return Celery("upstream", broker="memory://")

    health = CeleryHealth(factory)
    app = Flask("web")
    app.register_blueprint(create_blueprint(health), url_prefix="/api/celery")
    assert calls == []
    for _ in range(2):
        health.app.set_default()
    assert calls == [1]


def test_without_a_prefix_other_paths_belong_to_the_application() -> None:
    """At the root the blueprint answers its own paths; a 404 for any other path is the application's."""
    app = Flask("web")
    app.register_blueprint(create_blueprint(make_health()))
    client = app.test_client()
    assert client.get("/health/live").get_json() == {"status": "alive"}
    assert client.post("/health/live").get_json()["error"]["code"] == "method_not_allowed"
    assert client.get("/nothing").mimetype == "text/html"


def test_two_blueprints_in_one_application() -> None:
    """Two blueprints with different names, each with its own ``CeleryHealth``, both answer."""
    app = Flask("web")
    for name in ("first", "second"):
        app.register_blueprint(create_blueprint(make_health()), url_prefix=f"/{name}", name=name)
    client = app.test_client()
    for name in ("first", "second"):
        assert client.get(f"/{name}/health/live/").status_code == 200


@pytest.mark.parametrize("prefix", ["/<tenant>/celery", "/<path:path>/celery", "/acme/<int:name>", "/<tenant>/celery/"])
def test_a_prefix_may_contain_variables(prefix: str) -> None:
    """All paths below a prefix with variables are answered as below a fixed prefix."""
    app = Flask("web")
    app.register_blueprint(create_blueprint(make_health()), url_prefix=prefix)
    client = app.test_client()
    base = re.sub("<int:.*?>", "7", re.sub("<path:.*?>", "a/b", prefix)).replace("<tenant>", "acme").rstrip("/")
    assert client.get(f"{base}/health/live/").json == client.get(f"{base}/health/live").json == {"status": "alive"}
    assert client.post(f"{base}/tasks/").json["error"]["code"] == "method_not_allowed"
    assert client.get(f"{base}/nothing").json["error"]["code"] == "not_found"
    assert client.get(base).json["error"]["code"] == "not_found"


def test_flask_lists_our_routes() -> None:
    """``flask routes`` lists the endpoints by name."""
    app = Flask("web")
    app.register_blueprint(create_blueprint(make_health()), url_prefix="/api/celery")
    listing = app.test_cli_runner().invoke(FlaskGroup(create_app=lambda: app), ["routes"]).output
    for line in ("celery_health.health ", "celery_health.health_live", "celery_health.tasks", "celery_health.stats"):
        assert line in listing
