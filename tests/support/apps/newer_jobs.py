"""The app of ``tests.support.apps.jobs`` with a Celery that says to be newer than all that were tested."""

from __future__ import annotations

import celery

celery.VERSION = celery.VERSION._replace(minor=99)

from tests.support.apps.jobs import app  # noqa: E402  # not before: nothing of the package may see the true version

__all__ = ["app"]
