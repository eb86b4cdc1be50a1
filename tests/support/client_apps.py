"""Celery applications as client processes define them: with task names, without a worker."""

from __future__ import annotations

from celery import Celery

from celery_health_bp import MonitoredTask

#: The ``global_keyprefix`` of :func:`prefixed_app`.
PREFIX = "tenant:"


def named_app(name: str, broker_url: str) -> Celery:
    """Return an application with this name and one task, ``NAME.work``."""
    app = Celery(name, broker=broker_url, set_as_current=False)
    app.task(name=f"{name}.work", shared=False)(work)
    return app


def prefixed_app(broker_url: str) -> Celery:
    """Return a client of ``tests.support.apps.tenant_jobs`` whose keys begin with :data:`PREFIX`."""
    app = Celery("tenant", broker=broker_url, set_as_current=False)
    app.conf.broker_transport_options = {"global_keyprefix": PREFIX}
    return app


def user_app(broker_url: str) -> Celery:
    """Return a client of ``tests.support.apps.user_jobs``: two monitored tasks, and a plain one."""
    app = Celery("upstream", broker=broker_url, set_as_current=False)
    for name in ("derived", "slow_retry"):
        app.task(name=f"tests.support.apps.user_jobs.{name}", base=MonitoredTask, shared=False)(customer_work)
    app.task(name="plain", shared=False)(customer_work)
    return app


def work() -> None:
    """Do nothing."""


def customer_work(customer_id: str) -> None:
    """Do nothing for a customer."""
