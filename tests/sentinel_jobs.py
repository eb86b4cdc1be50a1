"""The Celery app of the tests behind sentinels."""

from __future__ import annotations

from .jobs import app
from .sentinel import MASTER

app.conf.broker_transport_options = {"master_name": MASTER}
