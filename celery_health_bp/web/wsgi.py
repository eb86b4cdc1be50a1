"""WSGI applications and the middleware: for Flask, Django and anything else that speaks WSGI.

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
from ..errors import CheckError, ConfigurationError
from ..health import CeleryHealth
from .api import Api, Refusal, authorize, check_method, refusal_response
from .collector import CeleryCollector

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger: logging.Logger = logging.getLogger(__name__)

#: The fastest one: an exposition repeats itself and shrinks well at any level.
GZIP_LEVEL = 1


class _Joined(Collector):
    """Our families and those of the application's own registry, in one exposition."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def collect(self) -> Iterable[Any]:
        for part in self._parts:
            yield from part.collect()


class MetricsMiddleware:
    """Answers one path with the Prometheus exposition; everything else is the application's.

    Arguments:
        wsgi_app: the wrapped application.
        health: whose jobs, workers and queues are shown.
        path: matched exactly.
        registry: the application's own registry (of prometheus-flask-exporter,
            say), whose metrics join the exposition; with
            ``PROMETHEUS_MULTIPROC_DIR`` set, those of all its processes. Metrics that the
            application serves at the same path by itself are not reached: the log warns.
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
        """Answer the path, or pass the request on."""
        if environ.get("PATH_INFO") == self._path:
            if self._may_hide:  # only now does the application have all its routes
                self._may_hide = False
                self._warn_if_hidden()
            return self._exposition(environ, start_response)
        return self._wsgi_app(environ, start_response)

    def _warn_if_hidden(self) -> None:
        """Warn of a route of the Flask application that we answer instead, such as prometheus-flask-exporter's."""
        routes = getattr(getattr(self._wsgi_app, "__self__", None), "url_map", None)
        if isinstance(routes, Map) and any(rule.rule == self._path for rule in routes.iter_rules()):
            logger.warning(
                "%s is a route of the application too, and not reached: its metrics join ours with "
                "MetricsMiddleware(..., registry=...)",
                self._path,
            )


def create_metrics_app(health: CeleryHealth) -> WSGIApplication:
    """A WSGI application that serves the exposition at its root and nothing below."""
    _require_health(health, "create_metrics_app")
    return _at_root(_Exposition(health, None))


def create_api_app(health: CeleryHealth) -> WSGIApplication:
    """A WSGI application that serves ``health/``, ``tasks/`` and ``stats/`` at its root."""
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
    """Put the endpoints and the exposition beside any WSGI application, such as Django's.

    Arguments:
        wsgi_app: answers every other path.
        api_prefix: where ``health/``, ``tasks/`` and ``stats/`` begin.
        metrics_path: the path of the exposition. Both are answered with and without
            the slash at their end.

    Raises:
        TypeError: an argument is of another type; ASGI applications are refused.
        ConfigurationError: the paths are equal, or one is the root.
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
    """The WSGI application of the exposition itself, whatever its path."""

    def __init__(self, health: CeleryHealth, registry: CollectorRegistry | None) -> None:
        self._health = health
        self._registry = registry
        self._collector = CeleryCollector(health)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        try:
            check_method(request)
            authorize(request, self._health)
            response = self._render(request)
        except Refusal as refusal:
            response = refusal_response(refusal)
        except ConfigurationError as exc:  # a sentence of our own, without secrets
            logger.error("rendering the exposition failed: %s", exc)
            response = refusal_response(Refusal(500, "configuration_error", str(exc)))
        except CheckError as problem:  # the Celery app is not ready
            response = refusal_response(Refusal(503, problem.code, str(problem)))
        except Exception:  # the edge: log it, tell nothing
            logger.exception("rendering the exposition failed")
            response = refusal_response(Refusal(500, "internal_error", "The answer could not be made; see the log"))
        return response(environ, start_response)

    def _render(self, request: Request) -> Response:
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
    """As prometheus_client negotiates; a version it cannot parse gets the plain text format."""
    try:
        return choose_encoder(accept)
    except Exception:  # client_python 0.26 raises TypeError on "version=abc"
        return choose_encoder("")


def _at_root(application: WSGIApplication) -> WSGIApplication:
    def rooted(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "") in ("", "/"):
            return application(environ, start_response)
        refusal = Refusal(404, "not_found", "The metrics are at the root of this application")
        return refusal_response(refusal)(environ, start_response)

    return rooted
