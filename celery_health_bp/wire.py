"""Names in messages between workers and web processes. Changing one breaks a fleet of mixed versions."""

from __future__ import annotations

#: Message header: time of publishing in microseconds since the epoch. JSON parses integers faster than floats.
PUBLISHED_HEADER = "celery_health_published"

#: Key that this package adds to a worker's reply to ``stats``.
STATS_KEY = "celery_health"

#: Control command that returns a worker's counts since it started.
COUNTS_COMMAND = "celery_health_counts"
