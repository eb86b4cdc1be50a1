"""The Flask blueprint: translates between Flask and ``api``, decides nothing."""

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

#: Name of the variable that holds the rest of a path; no prefix has one of that name.
REST = "celery_health_rest"


class _Rest(PathConverter):
    """The rest of a path, whatever it holds: werkzeug's own takes neither a leading slash nor a line break."""

    regex = r"[\s\S]*?"
    part_isolating = False


def create_blueprint(health: CeleryHealth) -> Blueprint:
    """A blueprint with ``health/``, ``health/live/``, ``tasks/``, ``stats/`` and ``flask celery-health``.

    Register it with the prefix of your choice:

        app.register_blueprint(create_blueprint(health), url_prefix="/api/celery")

    Raises:
        TypeError: ``health`` is no ``CeleryHealth``.
    """
    require(health, CeleryHealth, "create_blueprint", "CeleryHealth(celery_app)")
    api = Api(health)
    blueprint = Blueprint("celery_health", __name__, cli_group=None)
    blueprint.cli.add_command(health_command(lambda: health, name="celery-health"))
    blueprint.record(lambda state: _add_routes(state, api))
    return blueprint


def _add_routes(state: BlueprintSetupState, api: Api) -> None:
    """Every path with every method, so that refusals too have our error body.

    The rule is made without Flask's ``add_url_rule``, which cannot say "any method".
    """
    prefix = (state.url_prefix or "").rstrip("/")
    routes = {path.replace("/", "_"): f"/{path}/" for path in api.endpoints}
    if prefix:  # without one, other paths are the application's
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
    """Answer a path below the prefix; ``values`` are those of the prefix's variables, and the rest of the path."""
    current = request._get_current_object()  # type: ignore[attr-defined]  # the proxy looks it up each time
    if REST in values:
        path = f"/{values[REST]}"
    elif current.path.endswith("//"):  # werkzeug takes it for the path with one slash
        path += "/"
    return api.respond(current, path)
