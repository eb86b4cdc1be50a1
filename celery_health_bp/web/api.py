"""The endpoints as functions from a werkzeug request to a werkzeug response.

The Flask blueprint and the WSGI application share them, so that they always answer the same.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
from collections.abc import Callable, Mapping
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
#: Accepted values of a boolean parameter; ``?verbose`` without a value is true.
TRUTHS = {
    "": True, "1": True, "true": True, "yes": True, "on": True,
    "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip


class Refusal(Exception):
    """Raised to answer a request with an error body.

    Arguments:
        status: HTTP status.
        code: stable code for machines.
        message: sentence for people.
        headers: additional response headers.
    """

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status: int = status
        self.code: str = code
        self.message: str = message
        self.headers: dict[str, str] = headers or {}


class Api:
    """The endpoints for one ``CeleryHealth``.

    Attributes:
        endpoints: path without leading and trailing slash -> function that answers it.
    """

    def __init__(self, health: CeleryHealth) -> None:
        self._health = health
        self._cached_body: tuple[HealthReport, str] | None = None
        self.endpoints: dict[str, Callable[[Request], Response]] = {
            "health": self._answer_health,
            "health/live": self._answer_live,
            "tasks": self._answer_tasks,
            "stats": self._answer_stats,
        }

    def respond(self, request: Request, path: str) -> Response:
        """Answer a request; never raises.

        Arguments:
            request: its method, query string and headers are used.
            path: the path below the prefix, with or without leading and trailing slash.
        """
        return answer_safely(lambda: self._route(request, path), f"answering {request.path}")

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
        authorized = is_authorized(request, self._health)
        report = self._health.check()
        if not authorized:
            text = _text({"status": report.status})
        elif verbose:
            text = _text(health_body(report, verbose=True))
        else:
            text = self._plain_health(report)
        return _response(text, 503 if report.status == UNHEALTHY else 200)

    def _plain_health(self, report: HealthReport) -> str:
        """Return the body without details; cached until the next report."""
        if self._cached_body is None or self._cached_body[0] is not report:
            self._cached_body = (report, _text(health_body(report)))
        return self._cached_body[1]

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


def answer_safely(answer: Callable[[], Response], doing: str) -> Response:
    """Call ``answer``, and convert any exception to a response with an error body. Never raises.

    Arguments:
        answer: returns the response.
        doing: start of the log line about an error, such as ``answering /health/``.
    """
    try:
        return answer()
    except Refusal as refusal:
        return error_response(refusal.status, refusal.code, refusal.message, refusal.headers)
    except CheckError as problem:
        return error_response(503, problem.code, str(problem))
    except ConfigurationError as exc:  # our own sentence, without secrets
        logger.error("%s failed: %s", doing, exc)
        return error_response(500, "configuration_error", str(exc))
    except Exception:  # log the traceback, do not show it to the client
        logger.exception("%s failed", doing)
        return error_response(500, "internal_error", "The answer could not be made; see the log")


def error_response(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with an error body.

    Arguments:
        status: HTTP status.
        code: stable code for machines.
        message: sentence for people.
        headers: additional response headers.
    """
    response = _json(error_body(code, message), status)
    response.headers.update(headers or {})
    return response


def check_method(request: Request) -> None:
    """Raise ``Refusal`` unless the method is GET or HEAD."""
    if request.method not in METHODS:
        message = f"Only {' and '.join(METHODS)} are answered"
        raise Refusal(405, "method_not_allowed", message, {"Allow": ", ".join(METHODS)})


def authorize(request: Request, health: CeleryHealth) -> None:
    """Raise ``Refusal`` if an access token is set and the request does not carry it."""
    if not is_authorized(request, health):
        message = "Give the access token as 'Authorization: Bearer TOKEN'"
        raise Refusal(401, "unauthorized", message, {"WWW-Authenticate": 'Bearer realm="celery_health"'})


def is_authorized(request: Request, health: CeleryHealth) -> bool:
    """Return whether the request carries the access token, or none is set; compares in constant time."""
    token = health.settings.access_token
    if token is None:
        return True
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    same = hmac.compare_digest(given.strip().encode("latin-1", "replace"), token.encode())
    return same and scheme.lower() == "bearer"


def _arguments(request: Request) -> MultiDict[str, str]:
    try:
        return request.args
    except UnicodeDecodeError:  # raw bytes, which some servers pass on
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
    response = Response(text, status=status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
