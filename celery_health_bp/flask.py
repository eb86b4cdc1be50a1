"""The Flask blueprint: passes requests to ``web.api``."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import Blueprint, request
from flask.blueprints import BlueprintSetupState
from werkzeug.routing import PathConverter
from werkzeug.wrappers import Response

from .arguments import require
from .cli.command import health_command
from .health import CeleryHealth
from .web.api import Api

#: Name of the URL variable for the rest of the path; unlikely in a user's prefix.
REST = "celery_health_rest"


class _Rest(PathConverter):
    """Matches the rest of any path. werkzeug's ``path`` converter matches neither a leading slash nor a line break."""

    regex = r"[\s\S]*?"
    part_isolating = False


def create_blueprint(health: CeleryHealth) -> Blueprint:
    """Return a blueprint with ``health/``, ``health/live/``, ``tasks/``, ``stats/`` and ``flask celery-health``.

    Register it with the prefix of your choice:

        app.register_blueprint(create_blueprint(health), url_prefix="/api/celery")

    Arguments:
        health: the Celery application to check.

    Raises:
        TypeError: ``health`` is not a ``CeleryHealth``.
    """
    require(health, CeleryHealth, "create_blueprint", "CeleryHealth(celery_app)")
    api = Api(health)
    blueprint = Blueprint("celery_health", __name__, cli_group=None)
    blueprint.cli.add_command(health_command(lambda: health, name="celery-health"))
    blueprint.record(lambda state: _add_routes(state, api))
    return blueprint


def _add_routes(state: BlueprintSetupState, api: Api) -> None:
    """Route every path below the prefix, with any method, so that 404 and 405 have our error body.

    Flask's ``add_url_rule`` cannot route any method.
    """
    prefix = (state.url_prefix or "").rstrip("/")
    routes = {path.replace("/", "_"): f"/{path}/" for path in api.endpoints}
    if prefix:  # without a prefix, other paths belong to the application
        state.app.url_map.converters[_Rest.__name__] = _Rest
        routes.update(root="/", not_found=f"/<{_Rest.__name__}:{REST}>")

    for name, path in routes.items():
        endpoint = f"{state.name}.{name}"
        rule = state.app.url_rule_class(
            prefix + path, endpoint=endpoint, subdomain=state.subdomain, strict_slashes=False, merge_slashes=False
        )
        state.app.url_map.add(rule)
        state.app.view_functions[endpoint] = partial(_answer, api, path)


def _answer(api: Api, path: str, /, **values: Any) -> Response:
    """Answer a path below the prefix.

    Arguments:
        api: the endpoints.
        path: path of the endpoint.
        values: URL variables: those of the prefix, and the rest of an unknown path.
    """
    current = request._get_current_object()  # type: ignore[attr-defined]  # the proxy looks it up at each access
    if REST in values:
        path = f"/{values[REST]}"
    elif current.path.endswith("//"):  # werkzeug matches it like the path with one slash
        path += "/"
    return api.respond(current, path)
