"""The exceptions of this package.

Messages are built from parsed parts (transport, host, port), never from the text
of another library's exception, which can contain fragments of a password.
"""

from __future__ import annotations


class CeleryHealthError(Exception):
    """Base class of the exceptions that this package raises."""


class ConfigurationError(CeleryHealthError, ValueError):
    """A setting is wrong. Raised at start; the message names the key and the allowed values."""


class CheckError(CeleryHealthError):
    """A check could not ask the workers.

    Attributes:
        code: stable error code, the ``code`` of an HTTP error body.
        recommendation: advice for the person on call.
    """

    code = "internal_error"

    def __init__(self, message: str, recommendation: str) -> None:
        super().__init__(message)
        self.recommendation = recommendation


class BrokerUnreachable(CheckError):
    """The broker refused the connection or the credentials, or did not respond."""

    code = "broker_unreachable"


class DeadlineExceeded(CheckError):
    """No reply arrived within ``timeout_seconds``."""

    code = "deadline_exceeded"


class RemoteControlOff(CheckError):
    """Workers cannot be asked: remote control is disabled, or the transport does not support it."""

    code = "remote_control_off"


class ReplyTooLong(CheckError):
    """A worker's reply exceeds the size limit, so its tasks are unknown."""

    code = "reply_too_long"


class StoreUnavailable(CeleryHealthError):
    """The store of the job totals cannot be reached, or refuses a call.

    Attributes:
        cause: class name of the original error, such as ``NoPermissionError``.
        refused: whether the store replies with a permanent error.
    """

    def __init__(self, message: str, cause: str = "", refused: bool = False) -> None:
        super().__init__(message)
        self.cause = cause
        self.refused = refused
