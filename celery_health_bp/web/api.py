"""The endpoints without a web framework: a werkzeug request in, a response out.

The Flask blueprint and the WSGI application both answer with this, so that
they cannot differ.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
from collections.abc import Callable
from typing import Any

from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Request, Response

from ..errors import CheckError, ConfigurationError
from ..health import CeleryHealth
from ..report import UNHEALTHY, HealthReport
from ..schemas import error_body, health_body, stats_body, tasks_body

logger: logging.Logger = logging.getLogger(__name__)

METHODS = ("GET", "HEAD")
DEFAULT_LIMIT = 1000
#: Values of a yes-or-no parameter; without one, as in ``?verbose``, it is a yes.
TRUTHS = {
    "": True, "1": True, "true": True, "yes": True, "on": True,
    "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip


class Refusal(Exception):
    """The request cannot be answered: status, stable code, sentence, extra headers."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status: int = status
        self.code: str = code
        self.message: str = message
        self.headers: dict[str, str] = headers or {}


class Api:
    """The endpoints over one ``CeleryHealth``.

    Attributes:
        endpoints: path without slashes at its ends -> what answers it.
    """

    def __init__(self, health: CeleryHealth) -> None:
        self._health = health
        self._written: tuple[HealthReport, str] | None = None
        self.endpoints: dict[str, Callable[[Request], Response]] = {
            "health": self._answer_health,
            "health/live": self._answer_live,
            "tasks": self._answer_tasks,
            "stats": self._answer_stats,
        }

    def respond(self, request: Request, path: str) -> Response:
        """The answer to a request for ``path`` below the prefix; never raises."""
        try:
            response = self._route(request, path)
        except Refusal as refusal:
            response = _json(error_body(refusal.code, refusal.message), refusal.status)
            response.headers.update(refusal.headers)
        except CheckError as problem:
            response = _json(error_body(problem.code, str(problem)), 503)
        except ConfigurationError as exc:  # a sentence of our own, without secrets
            logger.error("answering %s failed: %s", request.path, exc)
            response = _json(error_body("configuration_error", str(exc)), 500)
        except Exception:  # the edge: log it, tell nothing
            logger.exception("answering %s failed", request.path)
            response = _json(error_body("internal_error", "The answer could not be made; see the log"), 500)
        response.headers["Cache-Control"] = "no-store"
        return response

    def _route(self, request: Request, path: str) -> Response:
        answer = self.endpoints.get(path.removeprefix("/").removesuffix("/"))
        if answer is None:
            raise Refusal(404, "not_found", f"Nothing here; there are {', '.join(f'{p}/' for p in self.endpoints)}")
        check_method(request)
        return answer(request)

    def _answer_health(self, request: Request) -> Response:
        verbose = _flag(request, "verbose")
        if verbose:
            authorize(request, self._health)
        known = is_authorized(request, self._health)
        report = self._health.check()
        if not known:
            text = _text({"status": report.status})
        elif verbose:
            text = _text(health_body(report, verbose=True))
        else:
            text = self._plain_health(report)
        return _response(text, 503 if report.status == UNHEALTHY else 200)

    def _plain_health(self, report: HealthReport) -> str:
        """The body that probes read, written once for each report."""
        if self._written is None or self._written[0] is not report:
            self._written = (report, _text(health_body(report)))
        return self._written[1]

    def _answer_live(self, request: Request) -> Response:
        return _json({"status": "alive"}, 200)

    def _answer_tasks(self, request: Request) -> Response:
        authorize(request, self._health)
        limit = _limit(request)
        wanted = {key: _arguments(request)[key] for key in ("task_name", "worker") if key in _arguments(request)}
        observation = self._health.ask()
        running = [task for task in observation.running if _matches(task, wanted)]
        scheduled = [task for task in observation.scheduled if _matches(task, wanted)]
        return _json(tasks_body(running, scheduled, limit), 200)

    def _answer_stats(self, request: Request) -> Response:
        authorize(request, self._health)
        return _json(stats_body(self._health.ask()), 200)


def check_method(request: Request) -> None:
    """Refuse what is neither GET nor HEAD."""
    if request.method not in METHODS:
        message = f"Only {' and '.join(METHODS)} are answered"
        raise Refusal(405, "method_not_allowed", message, {"Allow": ", ".join(METHODS)})


def authorize(request: Request, health: CeleryHealth) -> None:
    """Refuse a request without the access token, where one is set."""
    if not is_authorized(request, health):
        message = "Give the access token as 'Authorization: Bearer TOKEN'"
        raise Refusal(401, "unauthorized", message, {"WWW-Authenticate": 'Bearer realm="celery_health"'})


def is_authorized(request: Request, health: CeleryHealth) -> bool:
    """Whether the request carries the access token, or none is set; in constant time."""
    token = health.settings.access_token
    if token is None:
        return True
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    same = hmac.compare_digest(given.strip().encode("latin-1", "replace"), token.encode())
    return same and scheme.lower() == "bearer"


def refusal_response(refusal: Refusal) -> Response:
    """The error body of a refusal."""
    response = _json(error_body(refusal.code, refusal.message), refusal.status)
    response.headers.update({**refusal.headers, "Cache-Control": "no-store"})
    return response


def _arguments(request: Request) -> MultiDict[str, str]:
    try:
        return request.args
    except UnicodeDecodeError:  # raw bytes, which some servers let through
        raise Refusal(400, "invalid_parameter", "The query string is not percent-encoded UTF-8") from None


def _flag(request: Request, name: str) -> bool:
    value = _arguments(request).get(name) if request.query_string else None
    if value is None:
        return False
    if value.lower() not in TRUTHS:
        raise Refusal(400, "invalid_parameter", f"{name} takes one of {', '.join(filter(None, TRUTHS))}")
    return TRUTHS[value.lower()]


def _limit(request: Request) -> int:
    value = _arguments(request).get("limit")
    if value is None:
        return DEFAULT_LIMIT
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise Refusal(400, "invalid_parameter", "limit takes a whole number from 0 to 999999999")
    return int(value)


def _matches(task: Any, wanted: dict[str, str]) -> bool:
    return all(getattr(task, key) == value for key, value in wanted.items())


def _json(body: dict[str, Any], status: int) -> Response:
    return _response(_text(body), status)


def _text(body: dict[str, Any]) -> str:
    return json.dumps(body, allow_nan=False) + "\n"


def _response(text: str, status: int) -> Response:
    return Response(text, status=status, mimetype="application/json")
