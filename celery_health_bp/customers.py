"""Which customer an attempt was for: the value of the ``customer_id`` label."""

from __future__ import annotations

import inspect
import logging
from numbers import Number
from typing import Any
from uuid import UUID

from .allowed import CustomerResolver
from .counts import label_text
from .ledger import UNKNOWN
from .settings import Settings

logger: logging.Logger = logging.getLogger(__name__)

MAX_CHARACTERS = 64
_ABSENT = inspect.Parameter.empty


def label_value(value: Any) -> str:
    """A value as a label that can neither break nor bloat the exposition.

    Strings, numbers and UUIDs only, at most 64 characters; anything else, and
    an empty string, is ``unknown``. NUL and lone surrogates become ``?``.
    """
    if type(value) is str and value.isascii() and value.isprintable() and 0 < len(value) <= MAX_CHARACTERS:
        return value
    if isinstance(value, bool) or not isinstance(value, str | Number | UUID):
        return UNKNOWN
    try:
        text = str(value)[:MAX_CHARACTERS]
    except Exception:  # a __str__ of the user's, or an integer beyond sys.get_int_max_str_digits()
        return UNKNOWN
    return label_text(text) or UNKNOWN


class CustomerFinder:
    """Finds the customer of one task's attempts; made once per task.

    Arguments:
        task: the Celery task (also an attribute), whose signature tells where the argument stands.
        settings: ``customer_argument`` and ``customer_resolver`` are used.
    """

    def __init__(self, task: Any, settings: Settings) -> None:
        self.task: Any = task
        self._argument = settings.customer_argument
        self._resolver = settings.customer_resolver
        self._warned = False
        self._position, self._default = self._place()

    def find(self, args: Any, kwargs: Any) -> str:
        """The label's value for an attempt with these arguments."""
        if self._resolver is not None:
            return self._resolved(self._resolver, args, kwargs)
        if self._argument is None:
            return ""
        value = self._default
        if isinstance(kwargs, dict) and self._argument in kwargs:
            value = kwargs[self._argument]
        elif self._position is not None and isinstance(args, list | tuple) and len(args) > self._position:
            value = args[self._position]
        return label_value(value)

    def _place(self) -> tuple[int | None, Any]:
        try:
            parameters = inspect.signature(self.task.run).parameters
        except (TypeError, ValueError):  # a callable without a signature
            return None, _ABSENT
        parameter = parameters.get(self._argument or "")
        if parameter is None or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return None, _ABSENT
        position = None if parameter.kind is parameter.KEYWORD_ONLY else list(parameters).index(parameter.name)
        return position, parameter.default

    def _resolved(self, resolver: CustomerResolver, args: Any, kwargs: Any) -> str:
        try:
            return label_value(resolver(self.task, args, kwargs))
        except Exception:  # the user's code: it must not cost the count
            if not self._warned:
                self._warned = True
                logger.exception("customer_resolver failed for task %s; its attempts count as unknown", self.task.name)
            return UNKNOWN
