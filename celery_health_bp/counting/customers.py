"""Which customer an attempt was for: the value of the ``customer_id`` label."""

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

_ABSENT = inspect.Parameter.empty


def label_value(value: Any) -> str:
    """A value as a label that can neither break nor bloat the exposition.

    Strings, numbers and UUIDs only, at most 64 characters; anything else, and
    an empty string, is ``unknown``. NUL and lone surrogates become ``?``.

    Raises:
        BaseException: a ``__str__`` of the user's raised what is no ``Exception``.
    """
    if type(value) is str and value.isascii() and value.isprintable() and 0 < len(value) <= MAX_LABEL:
        return value
    if isinstance(value, bool) or not isinstance(value, str | Number | UUID):
        return UNKNOWN
    try:
        text = str(value)
    except Exception:  # a __str__ of the user's, or an integer beyond sys.get_int_max_str_digits()
        return UNKNOWN
    return label_text(text, MAX_LABEL) or UNKNOWN


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
        """The label's value for an attempt with these arguments.

        Whatever the user's code raises, also ``SystemExit`` or a timeout, counts as ``unknown``.
        """
        try:
            if self._resolver is not None:
                return label_value(self._resolver(self.task, args, kwargs))
            if self._argument is None:
                return ""
            value = self._default
            if isinstance(kwargs, dict) and self._argument in kwargs:
                value = kwargs[self._argument]
            elif self._position is not None and isinstance(args, list | tuple) and len(args) > self._position:
                value = args[self._position]
            return label_value(value)
        except BaseException as exc:
            if _ends_what_runs(exc):
                raise
            self._warn()
            return UNKNOWN

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

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            what = "the customer cannot be read" if self._resolver is None else "customer_resolver failed"
            logger.exception("%s for task %s; its attempts count as unknown", what, self.task.name)


def _ends_what_runs(exc: BaseException) -> bool:
    """It is not the user's code that raised this, but a signal to this process or the end of this greenlet."""
    if isinstance(exc, KeyboardInterrupt):  # with another handler, such as a worker's, no signal raises it
        return signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(exc, WorkerShutdown | WorkerTerminate) or type(exc).__name__ == "GreenletExit"
