"""Names that workers and web processes both use in messages. A change here breaks a fleet of mixed versions."""

from __future__ import annotations

#: Message header: microseconds since the epoch at publishing. An integer: JSON reads it faster than a float.
PUBLISHED_HEADER = "celery_health_published"

#: Key that a worker with this package adds to its ``stats`` reply.
STATS_KEY = "celery_health"

#: Control command of workers with this package: their counts since they started.
COUNTS_COMMAND = "celery_health_counts"
