"""The worker's side: what happens to each attempt, counted in the worker's main process."""

#: Dotted names by which Celery finds the two classes that it makes itself.
REQUEST = "celery_health_bp.counting.request:MonitoredRequest"
STEP = "celery_health_bp.counting.bootstep:RecorderStep"
