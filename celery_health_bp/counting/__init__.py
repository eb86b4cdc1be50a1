"""The worker side: counts each attempt in the worker's main process."""

#: Dotted names of the two classes that Celery imports and instantiates by itself.
REQUEST = "celery_health_bp.counting.request:MonitoredRequest"
STEP = "celery_health_bp.counting.bootstep:RecorderStep"
