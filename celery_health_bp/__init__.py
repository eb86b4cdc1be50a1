"""Celery health, tasks, stats and Prometheus metrics for Flask, Django and any WSGI application."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .flask import create_blueprint
    from .health import CeleryHealth
    from .settings import Settings
    from .tasks import MonitoredTask, monitor_task
    from .web.wsgi import MetricsMiddleware, create_api_app, create_metrics_app, mount

    __version__: str

__all__ = [
    "CeleryHealth",
    "MetricsMiddleware",
    "MonitoredTask",
    "Settings",
    "create_api_app",
    "create_blueprint",
    "create_metrics_app",
    "monitor_task",
    "mount",
]

_MODULES = {
    "CeleryHealth": "health",
    "MetricsMiddleware": "web.wsgi",
    "MonitoredTask": "tasks",
    "Settings": "settings",
    "create_api_app": "web.wsgi",
    "create_blueprint": "flask",
    "create_metrics_app": "web.wsgi",
    "monitor_task": "tasks",
    "mount": "web.wsgi",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that a worker imports neither Flask nor marshmallow."""
    if name == "__version__":  # of the installed distribution; setup.cfg is the only source
        from importlib.metadata import version

        return version("celery-health-bp")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
