"""Keeps exceptions of this package away from the jobs that it counts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def never_raises(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a method: on an ``Exception``, call ``self.record_internal_error()`` and return ``None``.

    Exceptions that end the process or the greenlet (``WorkerShutdown``, ``WorkerTerminate``,
    ``KeyboardInterrupt``, ``GreenletExit``) are not an ``Exception``, and propagate.
    """

    @functools.wraps(method)
    def guarded(self: Any, *args: Any) -> Any:
        try:
            return method(self, *args)
        except Exception:
            self.record_internal_error()
            return None

    return guarded
