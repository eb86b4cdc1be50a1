"""The WSGI middleware and applications: for Flask, Django and any other WSGI application.

In Flask::

    app.wsgi_app = MetricsMiddleware(app.wsgi_app, health)

Around any other application::

    application = mount(get_wsgi_application(), health)
"""

from __future__ import annotations

import gzip
import logging
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import Map
from werkzeug.wrappers import Request, Response

from ..arguments import require, require_wsgi
from ..errors import ConfigurationError
from ..health import CeleryHealth
from .api import Api, answer_safely, authorize, check_method, error_response
from .collector import CeleryCollector

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger: logging.Logger = logging.getLogger(__name__)

#: The fastest level: an exposition is repetitive and compresses well at any level.
GZIP_LEVEL = 1


class _Joined(Collector):
    """The metric families of several collectors or registries, in one exposition."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def collect(self) -> Iterable[Any]:
        for part in self._parts:
            yield from part.collect()


class MetricsMiddleware:
    """Serve the Prometheus exposition at one path; pass every other request on to the application.

    If the application itself has a route at this path, the route is not reached, and a warning is logged.

    Arguments:
        wsgi_app: the wrapped application.
        health: the jobs, workers and queues to show.
        path: path of the exposition, matched exactly; begins with ``/``.
        registry: the application's own registry, for example that of prometheus-flask-exporter. Its metrics
            are added to the exposition. With ``PROMETHEUS_MULTIPROC_DIR`` set, the metrics of all processes
            of the application are added instead.

    Raises:
        TypeError: an argument has the wrong type; ASGI applications are refused.
        ConfigurationError: ``path`` does not begin with ``/``.
    """

    def __init__(
        self,
        wsgi_app: WSGIApplication,
        health: CeleryHealth,
        path: str = "/metrics",
        registry: CollectorRegistry | None = None,
    ) -> None:
        require_wsgi(wsgi_app, "MetricsMiddleware")
        _require_health(health, "MetricsMiddleware")
        if not path.startswith("/"):
            raise ConfigurationError(f"MetricsMiddleware takes a path that begins with /, not {path!r}")
        self._wsgi_app = wsgi_app
        self._path = path
        self._exposition = _Exposition(health, registry)
        self._may_hide = registry is None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve the exposition, or call the application."""
        if environ.get("PATH_INFO") == self._path:
            if self._may_hide:  # checked here: the application adds routes after the middleware was created
                self._may_hide = False
                self._warn_if_hidden()
            return self._exposition(environ, start_response)
        return self._wsgi_app(environ, start_response)

    def _warn_if_hidden(self) -> None:
        """Warn if the Flask application has a route at our path, such as that of prometheus-flask-exporter."""
        routes = getattr(getattr(self._wsgi_app, "__self__", None), "url_map", None)
        if isinstance(routes, Map) and any(rule.rule == self._path for rule in routes.iter_rules()):
            logger.warning(
                "%s is a route of the application too, and not reached: its metrics join ours with "
                "MetricsMiddleware(..., registry=...)",
                self._path,
            )


def create_metrics_app(health: CeleryHealth) -> WSGIApplication:
    """Return a WSGI application that serves the Prometheus exposition at its root.

    Arguments:
        health: the jobs, workers and queues to show.

    Raises:
        TypeError: ``health`` is not a ``CeleryHealth``.
    """
    _require_health(health, "create_metrics_app")
    return _at_root(_Exposition(health, None))


def create_api_app(health: CeleryHealth) -> WSGIApplication:
    """Return a WSGI application that serves ``health/``, ``tasks/`` and ``stats/`` at its root.

    Arguments:
        health: the Celery application to check.

    Raises:
        TypeError: ``health`` is not a ``CeleryHealth``.
    """
    _require_health(health, "create_api_app")
    api = Api(health)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        return api.respond(request, request.path)(environ, start_response)

    return application


def mount(
    wsgi_app: WSGIApplication,
    health: CeleryHealth,
    api_prefix: str = "/api/celery",
    metrics_path: str = "/metrics",
) -> DispatcherMiddleware:
    """Return a WSGI application that adds the endpoints and the exposition to another one, such as Django's.

    Both paths match with and without a trailing slash.

    Arguments:
        wsgi_app: the application that answers all other paths.
        health: the Celery application to check.
        api_prefix: path below which ``health/``, ``tasks/`` and ``stats/`` are served.
        metrics_path: path of the Prometheus exposition.

    Raises:
        TypeError: an argument has the wrong type; ASGI applications are refused.
        ConfigurationError: the paths are equal, or one of them is the root.
    """
    require_wsgi(wsgi_app, "mount")
    _require_health(health, "mount")
    api, metrics = (f"/{path.strip('/')}" for path in (api_prefix, metrics_path))
    if api == metrics or "/" in (api, metrics):
        paths = f"{api_prefix!r} and {metrics_path!r}"
        raise ConfigurationError(f"mount takes two different paths below the root, not {paths}")
    return DispatcherMiddleware(wsgi_app, {api: create_api_app(health), metrics: create_metrics_app(health)})


def _require_health(given: Any, function: str) -> None:
    require(given, CeleryHealth, function, "CeleryHealth(celery_app)")


class _Exposition:
    """The WSGI application that answers every path with the exposition."""

    def __init__(self, health: CeleryHealth, registry: CollectorRegistry | None) -> None:
        self._health = health
        self._registry = registry
        self._collector = CeleryCollector(health)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        response = answer_safely(lambda: self._render(request), "rendering the exposition")
        return response(environ, start_response)

    def _render(self, request: Request) -> Response:
        check_method(request)
        authorize(request, self._health)
        encode, content_type = _encoder(request.headers.get("Accept", ""))
        output = encode(_Joined(self._collector, *self._own_registry()))
        headers = {"Cache-Control": "no-store", "Vary": "Accept, Accept-Encoding"}
        if request.accept_encodings.quality("gzip") > 0:
            output, headers["Content-Encoding"] = gzip.compress(output, GZIP_LEVEL), "gzip"
        return Response(output, content_type=content_type, headers=headers)

    def _own_registry(self) -> list[Any]:
        if self._registry is None:
            return []
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ or "prometheus_multiproc_dir" in os.environ:
            return [MultiProcessCollector(CollectorRegistry())]  # type: ignore[no-untyped-call]
        return [self._registry]


def _encoder(accept: str) -> tuple[Any, str]:
    """Negotiate the format as prometheus_client does; fall back to the text format."""
    try:
        return choose_encoder(accept)
    except Exception:  # prometheus_client 0.26 raises TypeError on "version=abc"
        return choose_encoder("")


def _at_root(application: WSGIApplication) -> WSGIApplication:
    def rooted(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "") in ("", "/"):
            return application(environ, start_response)
        not_found = error_response(404, "not_found", "The metrics are at the root of this application")
        return not_found(environ, start_response)

    return rooted
