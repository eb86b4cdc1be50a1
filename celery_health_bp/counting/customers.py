"""Finds the value of the ``customer_id`` label for an attempt."""

from __future__ import annotations

import inspect
import logging
import signal
from numbers import Number
from typing import Any
from uuid import UUID

from celery.exceptions import WorkerShutdown, WorkerTerminate

from ..counts import MAX_LABEL, label_text
from ..settings import Settings
from .ledger import UNKNOWN

logger: logging.Logger = logging.getLogger(__name__)

_NO_DEFAULT = inspect.Parameter.empty
_POSITIONAL = (list, tuple)  # hot path: isinstance() is slower with list | tuple


def label_value(value: Any) -> str:
    """Convert a value to a label of at most 64 characters that cannot break the exposition.

    Strings, numbers and UUIDs are converted, with NUL and lone surrogates
    replaced by ``?``. Any other type and the empty string become ``unknown``.

    Raises:
        BaseException: the user's ``__str__`` raised an exception that is not an ``Exception``.
    """
    if type(value) is str and value.isascii() and value.isprintable() and 0 < len(value) <= MAX_LABEL:
        return value
    if isinstance(value, bool) or not isinstance(value, str | Number | UUID):
        return UNKNOWN
    try:
        text = str(value)
    except Exception:  # from the user's __str__, or for an integer beyond sys.get_int_max_str_digits()
        return UNKNOWN
    return label_text(text, MAX_LABEL) or UNKNOWN


class CustomerFinder:
    """Finds the customer of one task's attempts.

    Arguments:
        task: the Celery task (also an attribute). Its signature gives the position of the argument.
        settings: supplies ``customer_argument`` and ``customer_resolver``.
    """

    def __init__(self, task: Any, settings: Settings) -> None:
        self.task: Any = task
        self._argument = settings.customer_argument
        self._resolver = settings.customer_resolver
        self._has_warned = False
        self._position, self._default = self._parameter()

    def find(self, args: Any, kwargs: Any) -> str:
        """Return the label's value for an attempt with these positional and keyword arguments.

        Return ``unknown`` if the user's code raises, even ``SystemExit`` or a timeout.

        Raises:
            BaseException: the process or the greenlet ends; see ``_must_propagate``.
        """
        try:
            if self._resolver is not None:
                return label_value(self._resolver(self.task, args, kwargs))
            if self._argument is None:
                return ""
            value = self._default
            if isinstance(kwargs, dict) and self._argument in kwargs:
                value = kwargs[self._argument]
            elif self._position is not None and isinstance(args, _POSITIONAL) and len(args) > self._position:
                value = args[self._position]
            return label_value(value)
        except BaseException as exc:
            if _must_propagate(exc):
                raise
            self._warn()
            return UNKNOWN

    def _parameter(self) -> tuple[int | None, Any]:
        """Return position and default value of the customer's parameter; no position if it is keyword-only."""
        try:
            parameters = inspect.signature(self.task.run).parameters
        except (TypeError, ValueError):  # a callable without a signature
            return None, _NO_DEFAULT
        parameter = parameters.get(self._argument or "")
        if parameter is None or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return None, _NO_DEFAULT
        position = None if parameter.kind is parameter.KEYWORD_ONLY else list(parameters).index(parameter.name)
        return position, parameter.default

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            what = "the customer cannot be read" if self._resolver is None else "customer_resolver failed"
            logger.exception("%s for task %s; its attempts count as unknown", what, self.task.name)


def _must_propagate(exc: BaseException) -> bool:
    """Return whether a signal to this process or the end of this greenlet raised ``exc``, not the user's code."""
    if isinstance(exc, KeyboardInterrupt):  # only the default handler raises it; a worker installs its own
        return signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(exc, WorkerShutdown | WorkerTerminate) or type(exc).__name__ == "GreenletExit"
