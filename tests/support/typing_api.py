"""The types of the public API. mypy and pyright check this file in ``make lint``; it is never run.

Each ``type: ignore`` marks a mistake that both must find: an unused one is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from celery import Celery, shared_task
from flask import Blueprint, Flask
from prometheus_client import CollectorRegistry
from typing_extensions import assert_type
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from celery_health_bp import (
    CeleryHealth,
    MetricsMiddleware,
    MonitoredTask,
    Settings,
    __version__,
    create_api_app,
    create_blueprint,
    create_metrics_app,
    monitor_task,
    mount,
)
from celery_health_bp.django import health_of_project
from celery_health_bp.errors import BrokerUnreachable, CeleryHealthError, CheckError, ConfigurationError
from celery_health_bp.report import HealthReport, Observation, Queue, RunningTask, ScheduledTask, Worker

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

assert_type(__version__, str)

# -- settings --

settings = Settings(min_workers=2, queues=("celery",), access_token=None)
assert_type(settings.namespace, str)
assert_type(settings.queues, tuple[str, ...] | None)
assert_type(settings.timeout_seconds, float)
assert_type(settings.customer_resolver, Callable[[Any, Any, Any], Any] | None)
assert_type(Settings.from_env(), Settings)
assert_type(Settings.from_mapping({"min_workers": 2}, namespace="shop"), Settings)

Settings("shop")  # type: ignore[call-arg]  # keywords only
Settings(min_worker=2)  # type: ignore[call-arg]  # no such setting
Settings(queues="celery")  # type: ignore[arg-type]  # a tuple
settings.min_workers = 3  # type: ignore[misc]  # frozen

# -- health --


def make_celery() -> Celery:
    """Return a Celery app."""
    return Celery("upstream", broker="redis://localhost:6379/0", task_cls=MonitoredTask)


health = CeleryHealth(make_celery)
assert_type(CeleryHealth(make_celery, settings), CeleryHealth)
assert_type(CeleryHealth(make_celery()), CeleryHealth)
assert_type(health.app, Celery)
assert_type(health.settings, Settings)
assert_type(health.check(), HealthReport)
assert_type(health.observe(), Observation)
assert_type(health.ask(), Observation)
health.close()
assert_type(health_of_project(), CeleryHealth)

CeleryHealth(settings)  # pyright: ignore[reportArgumentType]  # an app comes first; to mypy, Celery has no types
CeleryHealth(make_celery, {"min_workers": 2})  # type: ignore[arg-type]  # Settings.from_mapping makes them


def summary(report: HealthReport) -> str:
    """Check the type of each attribute of a report."""
    assert_type(report.status, str)
    assert_type(report.error, str | None)
    assert_type(report.active_workers, tuple[str, ...])
    assert_type(report.recommendations, tuple[str, ...])
    assert_type(report.queues, Mapping[str, int])
    assert_type(report.healthy_workers, bool)
    assert_type(report.observation.problem, CheckError | None)
    assert_type(report.observation.workers, tuple[Worker, ...])
    assert_type(report.observation.queues, Mapping[str, Queue])
    assert_type(report.observation.running, list[RunningTask])
    assert_type(report.observation.scheduled, list[ScheduledTask])
    report.status = "healthy"  # type: ignore[misc]  # frozen
    return report.status


def advice() -> str | None:
    """Check the tree of exceptions."""
    try:
        health.ask()
    except BrokerUnreachable as exc:
        return assert_type(exc.recommendation, str)
    except CheckError as exc:
        return assert_type(exc.code, str)
    except ConfigurationError as exc:
        raise ValueError from exc
    except CeleryHealthError:
        return None
    return ""


# -- Flask, and WSGI --

web = Flask(__name__)
assert_type(create_blueprint(health), Blueprint)
web.register_blueprint(create_blueprint(health), url_prefix="/api/celery")
served: WSGIApplication = MetricsMiddleware(web.wsgi_app, health)
served = MetricsMiddleware(web.wsgi_app, health, path="/metrics", registry=CollectorRegistry())

api: WSGIApplication = create_api_app(health)
metrics: WSGIApplication = create_metrics_app(health)
everything: WSGIApplication = mount(api, health, api_prefix="/celery", metrics_path="/celery-metrics")
assert_type(mount(api, health), DispatcherMiddleware)


def serve(environ: dict[str, Any]) -> Iterable[bytes]:
    """Check that the middleware is a WSGI application."""
    return MetricsMiddleware(api, health)(environ, lambda status, headers, exc_info=None: lambda data: None)


create_blueprint(make_celery)  # type: ignore[arg-type]  # health, not a factory
MetricsMiddleware(health)  # type: ignore[call-arg, arg-type]  # the application comes first

# -- tasks --


@monitor_task
def send(customer_id: str, text: str, *, urgent: bool = False) -> int:
    """Check that the decorator keeps the function's type."""
    return len(text)


assert_type(send("acme", "drift", urgent=True), int)
send("acme", 1)  # type: ignore[arg-type]  # text


@shared_task(base=MonitoredTask)
def convert(customer_id: str) -> str:
    """Check the base class with Celery's decorator."""
    return customer_id


class Special(MonitoredTask):
    """A subclass of the user."""

    max_retries = 5


app = make_celery()
app.conf.celery_health = {"queue_length_threshold": 500}


@app.task(base=Special, bind=True)
def special(self: Special, customer_id: str) -> None:
    """Check a bound task."""
    self.apply_async(("acme",), countdown=5)
