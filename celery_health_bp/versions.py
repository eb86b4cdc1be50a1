"""Code that depends on the version of Celery; docs/versions.md lists all differences between versions."""

from __future__ import annotations

import functools
import logging
import re

import celery
from billiard.pool import MaybeEncodingError
from celery.utils.serialization import UnpickleableExceptionWrapper

logger: logging.Logger = logging.getLogger(__name__)

NEWEST_TESTED = (5, 7)


def unwrapped(exc: BaseException) -> BaseException:
    """Return the exception that the job raised, without the wrapper that billiard 4 puts around it (Celery 5.3)."""
    return exc.exc if type(exc).__name__ == "ExceptionWithTraceback" else exc  # type: ignore[attr-defined]


def class_name(exc: BaseException) -> str:
    """Return the class name of the exception that the job raised, even if it could not be pickled.

    An unpicklable exception arrives with its class name (Celery 5.3), or only as text (Celery 5.2).
    """
    if isinstance(exc, UnpickleableExceptionWrapper):
        return str(exc.exc_cls_name)
    if isinstance(exc, MaybeEncodingError):
        quoted = re.search(r"<ExceptionInfo: (\w+)\(", str(exc.value))
        return quoted[1] if quoted else type(exc).__name__
    return type(exc).__name__


@functools.cache
def warn_if_untested() -> None:
    """Log a warning, once per process, if the installed Celery is newer than all tested versions."""
    if celery.VERSION[:2] > NEWEST_TESTED:
        logger.warning(
            "Celery %s is newer than %d.%d, the newest that celery_health_bp was tested with: look for a newer release",
            celery.__version__,
            *NEWEST_TESTED,
        )
