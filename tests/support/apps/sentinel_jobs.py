"""The default Celery app of the tests, with a broker behind Redis Sentinel."""

from __future__ import annotations

from tests.support.apps.jobs import app
from tests.support.sentinel import MASTER

app.conf.broker_transport_options = {"master_name": MASTER}
