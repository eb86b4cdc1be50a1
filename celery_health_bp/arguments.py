"""Validates arguments of public functions when they are passed. Otherwise a wrong one causes a status 500 later."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.local import Proxy

from .errors import ConfigurationError


def factory_of(given: Any) -> Callable[[], Celery]:
    """Return the factory for a ``CeleryHealth``.

    Arguments:
        given: a Celery app, or a function that returns one.

    Raises:
        TypeError: ``given`` is neither.
    """
    if isinstance(given, Proxy):  # such as celery.current_app, which is resolved on first use
        return lambda: given._get_current_object()
    if isinstance(given, Celery):
        return lambda: given
    if not _accepts(given):
        allowed = "a Celery app, or a function without arguments that returns one"
        raise TypeError(f"CeleryHealth takes {allowed}, not {_type_name(given)}")
    return given  # type: ignore[no-any-return]  # made_by() checks its result


def made_by(factory: Callable[[], Celery]) -> Celery:
    """Call the factory and return its app.

    Raises:
        ConfigurationError: the factory returns something other than a Celery app.
    """
    app = factory()
    if not isinstance(app, Celery):
        raise ConfigurationError(f"the factory given to CeleryHealth must return a Celery app, not {_type_name(app)}")
    return app


def require(given: Any, kind: type, function: str, hint: str) -> None:
    """Check the type of an argument.

    Arguments:
        given: the argument.
        kind: the expected type.
        function: public name of the function that was called, for the message.
        hint: example of a valid argument, for the message.

    Raises:
        TypeError: the argument has another type.
    """
    if not isinstance(given, kind):
        raise TypeError(f"{function} takes a {kind.__name__}, not {_type_name(given)}: give {hint}")


def require_wsgi(given: Any, function: str) -> None:
    """Check that an argument is a WSGI application.

    Arguments:
        given: the argument.
        function: public name of the function that was called, for the message.

    Raises:
        TypeError: it cannot be called with environ and start_response, or is an ASGI application.
    """
    if not _accepts(given, "environ", "start_response"):
        asynchronous = callable(given) and _is_async(given)
        found = f"the ASGI application {_type_name(given)}" if asynchronous else _type_name(given)
        raise TypeError(f"{function} takes a WSGI application (environ, start_response), not {found}")


def _accepts(given: Any, *arguments: Any) -> bool:
    if not callable(given) or _is_async(given):
        return False
    try:
        inspect.signature(given).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # written in C, without a signature
        return True
    return True


def _is_async(given: Any) -> bool:
    call = type(given).__call__ if hasattr(type(given), "__call__") else None  # noqa: B004  (the method itself is needed)
    return inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(call)


def _type_name(given: Any) -> str:
    """Return the name of its type. Values of users' objects are not shown."""
    kind = type(given)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
