"""The exceptions of this package.

Every message is written by us from parsed parts (transport, host, port): never
from another library's exception text, which can hold fragments of a password.
"""

from __future__ import annotations


class CeleryHealthError(Exception):
    """Root of all errors that this package raises on purpose."""


class ConfigurationError(CeleryHealthError, ValueError):
    """A setting is wrong: raised at start, names the key and what is allowed."""


class CheckError(CeleryHealthError):
    """The workers could not be asked.

    Attributes:
        code: stable word for machines, the ``code`` of an HTTP error body.
        recommendation: what a person on call can do about it.
    """

    code = "internal_error"

    def __init__(self, message: str, recommendation: str) -> None:
        super().__init__(message)
        self.recommendation = recommendation


class BrokerUnreachable(CheckError):
    """The broker refused, was silent, or did not let us in."""

    code = "broker_unreachable"


class DeadlineExceeded(CheckError):
    """No answer before ``timeout_seconds`` had passed."""

    code = "deadline_exceeded"


class RemoteControlOff(CheckError):
    """Workers of this app or transport answer no questions."""

    code = "remote_control_off"


class ReplyTooLong(CheckError):
    """A worker answered with more than is read, so what it runs is not known."""

    code = "reply_too_long"


class StoreUnavailable(CeleryHealthError):
    """The store of the job totals could not be reached or refused the call.

    Attributes:
        cause: class of the error that it began with, such as ``NoPermissionError``.
        refused: the store answers and says no, which does not pass by itself.
    """

    def __init__(self, message: str, cause: str = "", refused: bool = False) -> None:
        super().__init__(message)
        self.cause = cause
        self.refused = refused
