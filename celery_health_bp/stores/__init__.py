"""Stores of job totals: workers add to them, scrapes read them."""

from __future__ import annotations

from typing import Any

from ..settings import Settings
from .address import redis_urls
from .connect import SOCKET_TIMEOUT_SECONDS
from .protocol import MAX_BATCH, Added, Store
from .redis import RedisStore

__all__ = ["MAX_BATCH", "SOCKET_TIMEOUT_SECONDS", "Added", "RedisStore", "Store", "open_store"]


def open_store(app: Any, settings: Settings) -> Store | None:
    """Open the store that ``metrics_store`` names. Connects on first use.

    ``"auto"`` selects the broker if it is Redis or Valkey, else the result backend if that is.

    Returns:
        ``None`` if the workers keep their own counts: ``"control"``, or ``"auto"`` without a Redis.

    Raises:
        ConfigurationError: see ``connect``.
    """
    url = settings.metrics_store
    if url == "auto":
        url = redis_urls(app) or "control"
    if url == "control":
        return None
    return RedisStore.from_url(url, app, settings)
