"""Arguments of the public functions: wrong ones are refused by the call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from celery import Celery, current_app
from flask import Flask

from celery_health_bp import (
    CeleryHealth,
    MetricsMiddleware,
    Settings,
    create_api_app,
    create_blueprint,
    create_metrics_app,
    mount,
)
from celery_health_bp.errors import ConfigurationError


def make_app(**configuration: Any) -> Celery:
    """Return a Celery app that is not the current one."""
    app = Celery("upstream", broker="memory://", set_as_current=False)
    app.conf.celery_health = configuration
    return app


def hello(environ: Any, start_response: Any) -> Iterable[bytes]:
    """A WSGI application."""
    start_response("200 OK", [])
    return []


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application."""


async def asgi_of_two(scope: Any, receive: Any) -> None:
    """An ASGI application that counting its arguments would take for WSGI."""


class Asgi:
    """An ASGI application class such as those of FastAPI, Starlette and Django."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""


async def make_later() -> Celery:
    """An asynchronous factory."""
    return make_app()


APP_OR_FACTORY = "CeleryHealth takes a Celery app, or a function without arguments that returns one, not "
A_HEALTH = " takes a CeleryHealth, not "
WSGI = " takes a WSGI application (environ, start_response), not "


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CeleryHealth("x"), APP_OR_FACTORY + "str"),  # type: ignore[arg-type]
        (lambda: CeleryHealth(None), APP_OR_FACTORY + "NoneType"),  # type: ignore[arg-type]
        (lambda: CeleryHealth(Settings()), APP_OR_FACTORY + "celery_health_bp.settings.Settings"),  # type: ignore[arg-type]
        (lambda: CeleryHealth(Flask("web")), APP_OR_FACTORY + "flask.app.Flask"),  # type: ignore[arg-type]
        (lambda: CeleryHealth(make_later), APP_OR_FACTORY + "function"),  # type: ignore[arg-type]
        (
            lambda: CeleryHealth(make_app, {"min_workers": 2}),  # type: ignore[arg-type]
            "CeleryHealth takes a Settings, not dict: give Settings(...) or Settings.from_mapping({...})",
        ),
        (lambda: create_blueprint(make_app()), f"create_blueprint{A_HEALTH}celery.app.base.Celery: give CeleryHealth("),
        (lambda: create_api_app(make_app), f"create_api_app{A_HEALTH}function"),  # type: ignore[arg-type]
        (lambda: create_metrics_app("x"), f"create_metrics_app{A_HEALTH}str"),  # type: ignore[arg-type]
        (lambda: MetricsMiddleware(hello, make_app()), f"MetricsMiddleware{A_HEALTH}celery.app.base.Celery"),
        (lambda: MetricsMiddleware(health(), hello), f"MetricsMiddleware{WSGI}celery_health_bp.health.CeleryHealth"),  # type: ignore[arg-type]
        (lambda: MetricsMiddleware(hello, health(), "metrics"), "MetricsMiddleware takes a path that begins with /"),
        (lambda: mount(health(), hello), f"mount{WSGI}celery_health_bp.health.CeleryHealth"),  # type: ignore[arg-type]
        (lambda: mount(hello, make_app()), f"mount{A_HEALTH}celery.app.base.Celery"),
        (lambda: mount(asgi, health()), f"mount{WSGI}the ASGI application function"),  # type: ignore[arg-type]
        (lambda: mount(asgi_of_two, health()), f"mount{WSGI}the ASGI application function"),  # type: ignore[arg-type]
        (lambda: mount(Asgi(), health()), f"mount{WSGI}the ASGI application tests.unit.test_arguments.Asgi"),  # type: ignore[arg-type]
        (lambda: MetricsMiddleware(Asgi(), health()), f"MetricsMiddleware{WSGI}the ASGI application"),  # type: ignore[arg-type]
        (lambda: mount(hello, health(), api_prefix="/"), "mount takes two different paths below the root, not '/'"),
        (
            lambda: mount(hello, health(), "/x", "x/"),
            "mount takes two different paths below the root, not '/x' and 'x/'",
        ),
    ],
)
def test_a_wrong_argument_is_refused_by_the_call(call: Callable[[], object], message: str) -> None:
    """The error names what was given and what is allowed, so the process does not start."""
    with pytest.raises((TypeError, ConfigurationError), match=re.escape(message)):
        call()


def health() -> CeleryHealth:
    """Return the health of a new app."""
    return CeleryHealth(make_app)


def test_an_app_may_be_given_instead_of_a_factory() -> None:
    """``CeleryHealth(app)`` uses that app; a class and ``current_app`` are accepted too."""
    app = make_app(min_workers=3)
    assert CeleryHealth(app).app is app
    assert CeleryHealth(app).settings.min_workers == 3
    assert isinstance(CeleryHealth(Celery).app, Celery)
    app.set_current()
    assert CeleryHealth(current_app).app is app


def test_later_changes_of_an_apps_settings_are_read() -> None:
    """The configuration of a given app is checked by the call, and read on first use."""
    app = make_app()
    found = CeleryHealth(app)
    app.conf.celery_health = {"min_workers": 5}
    assert found.settings.min_workers == 5


def test_wrong_settings_of_an_app_are_refused_by_the_call() -> None:
    """A misspelled key in ``app.conf.celery_health`` is an error, unless other settings are given."""
    with pytest.raises(ConfigurationError, match=r"^min_worker is no setting \(did you mean min_workers\?\)"):
        CeleryHealth(make_app(min_worker=3))
    CeleryHealth(make_app(min_worker=3), Settings())


@pytest.mark.parametrize("path", ["/health/", "/health/?verbose=1", "/tasks/", "/stats/", "/metrics"])
@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (
            lambda: make_app(timeout_second=3),
            "timeout_second is no setting (did you mean timeout_seconds?); allowed are",
        ),
        (lambda: make_app(access_token="s3 cret"), "access_token=(not shown) is not allowed: give visible ASCII"),
        (lambda: "app", "the factory given to CeleryHealth must return a Celery app, not str"),
    ],
)
def test_endpoints_report_wrong_settings_of_a_factory(factory: Callable[[], Any], message: str, path: str) -> None:
    """Settings that are known only on first use make a 500 with the reason and without secrets; liveness stays 200."""
    found = CeleryHealth(factory)
    web = Flask("web")
    web.register_blueprint(create_blueprint(found))
    web.wsgi_app = MetricsMiddleware(web.wsgi_app, found)  # type: ignore[method-assign]
    answer = web.test_client().get(path)
    assert (answer.status_code, answer.json["error"]["code"]) == (500, "configuration_error")
    assert answer.json["error"]["message"].startswith(message)
    assert "s3 cret" not in answer.text
    assert web.test_client().get("/health/live/").status_code == 200
