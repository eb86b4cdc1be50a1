"""A WSGI client that checks PEP 3333."""

from __future__ import annotations

from typing import Any
from wsgiref.validate import validator

from werkzeug.test import Client
from werkzeug.wrappers import Response


class StrictClient(Client):
    """A client that reads each response whole and closes it.

    Arguments:
        application: WSGI application; wsgiref's validator checks each of its responses.
    """

    def __init__(self, application: Any) -> None:
        super().__init__(validator(application), Response)

    def open(self, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        """Make a request."""
        return super().open(*args, **{"buffered": True, **kwargs})  # type: ignore[return-value]
