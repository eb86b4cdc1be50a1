"""What the public functions are given, looked at when it is given: a wrong one would answer 500 much later."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.local import Proxy

from .errors import ConfigurationError


def factory_of(given: Any) -> Callable[[], Celery]:
    """The factory of a ``CeleryHealth``: the one that is given, or one that returns the app that is given.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(given, Proxy):  # celery.current_app: which one that is, is known on first use
        return lambda: given._get_current_object()
    if isinstance(given, Celery):
        return lambda: given
    if not _can_be_called(given):
        allowed = "a Celery app, or a function without arguments that returns one"
        raise TypeError(f"CeleryHealth takes {allowed}, not {_named(given)}")
    return given  # type: ignore[no-any-return]  # what it returns is known when it is called


def made_by(factory: Callable[[], Celery]) -> Celery:
    """Call the factory.

    Raises:
        ConfigurationError: what it returns is no Celery app.
    """
    app = factory()
    if not isinstance(app, Celery):
        raise ConfigurationError(f"the factory given to CeleryHealth must return a Celery app, not {_named(app)}")
    return app


def require(given: Any, kind: type, function: str, hint: str) -> None:
    """Refuse what is not of this kind.

    Arguments:
        function: what was called, as its user knows it.
        hint: what to give instead.

    Raises:
        TypeError: it is of another kind.
    """
    if not isinstance(given, kind):
        raise TypeError(f"{function} takes a {kind.__name__}, not {_named(given)}: give {hint}")


def require_wsgi(given: Any, function: str) -> None:
    """Refuse what cannot be a WSGI application.

    Raises:
        TypeError: it cannot be called with environ and start_response, or is an ASGI application.
    """
    if not _can_be_called(given, "environ", "start_response"):
        asynchronous = callable(given) and _is_async(given)
        found = f"the ASGI application {_named(given)}" if asynchronous else _named(given)
        raise TypeError(f"{function} takes a WSGI application (environ, start_response), not {found}")


def _can_be_called(given: Any, *arguments: Any) -> bool:
    if not callable(given) or _is_async(given):
        return False
    try:
        inspect.signature(given).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # written in C: nothing is known
        return True
    return True


def _is_async(given: Any) -> bool:
    call = type(given).__call__ if hasattr(type(given), "__call__") else None  # noqa: B004  (looked at, not asked for)
    return inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(call)


def _named(given: Any) -> str:
    """Its type; no value of a user's object is shown."""
    kind = type(given)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
