"""The app of ``tests.support.apps.jobs`` under a Celery version newer than any tested one."""

from __future__ import annotations

import celery

celery.VERSION = celery.VERSION._replace(minor=99)

from tests.support.apps.jobs import app  # noqa: E402  # after the change: the package must not see the true version

__all__ = ["app"]
