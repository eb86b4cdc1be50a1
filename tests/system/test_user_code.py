"""Counting with users' code: overridden hooks, own requests, customer resolvers; and with errors of our own code."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from celery_health_bp.wire import PUBLISHED_HEADER
from tests.support.client_apps import user_app
from tests.support.exposition import JOB, Exposition
from tests.support.processes import Worker, wait_until
from tests.support.servers import RedisServer

pytestmark = pytest.mark.measured

APP = "tests.support.apps.user_jobs:app"
FAST = {"CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.1"}


@pytest.fixture
def read(celery_app: Celery, make_app: Any) -> Callable[[], Exposition]:
    """Return a function that scrapes an application on the test's Redis."""
    web = make_app(celery_app).test_client()
    return lambda: Exposition(web.get("/metrics").text)


def send(client: Celery, *tasks: str, **kwargs: Any) -> None:
    """Publish one job for each task."""
    for task in tasks:
        client.send_task(f"tests.support.apps.user_jobs.{task}", kwargs=kwargs or {"customer_id": "c"})


def test_subclasses_are_counted_and_foreign_requests_are_logged(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], read: Any
) -> None:
    """Subclasses are counted once; one warning names each task whose ``Request`` does not derive from ours."""
    worker = start_worker(redis.url, app=APP, environ=FAST)
    send(celery_app, "overriding", "derived", "foreign", "foreign_decorated")
    worker.wait_for(r"(?s)(succeeded in.*){3}")
    wait_until(lambda: read().ended() == 2, "two attempts are counted", 30)
    found = read()
    assert found.get(f"{JOB}_completed_total", task_name="tests.support.apps.user_jobs.derived", customer_id="c") == 1
    assert (
        found.total(f"{JOB}_failed_total", task_name="tests.support.apps.user_jobs.overriding", error_type="ValueError")
        == 1
    )
    assert found.total(f"{JOB}_started_total") == 2
    for name in ("foreign", "foreign_decorated"):
        assert (
            worker.output().count(
                f"task tests.support.apps.user_jobs.{name} is not counted: its Request must derive from"
            )
            == 1
        )


def test_a_worker_without_our_step_counts_and_warns_once(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], read: Any
) -> None:
    """A worker without our boot step counts, and logs one warning."""
    worker = start_worker(redis.url, app=APP, environ={**FAST, "WITHOUT_STEP": "1"})
    send(celery_app, "derived", "derived", "overriding")
    wait_until(lambda: read().ended() == 3, "all are counted", 30)
    assert worker.output().count("runs without celery_health_bp.counting.bootstep:RecorderStep") == 1


@pytest.mark.parametrize("method", ["count", "internal_error", "take"])
def test_an_internal_error_never_reaches_a_job(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], read: Any, method: str
) -> None:
    """When a method of the ledger raises, jobs are not affected, and the error is logged once."""
    worker = start_worker(redis.url, app=APP, environ={**FAST, "BREAK_LEDGER": method})
    send(celery_app, "derived", "derived", "derived", "overriding")
    worker.wait_for(r"(?s)(succeeded in.*){3}")
    worker.wait_for(r"raised unexpected: ValueError")
    if method == "count":  # start and end of four attempts
        wait_until(lambda: read().get("celery_health_internal_errors_total") == 8, "the errors are counted", 30)
    worker.end()
    assert worker.output().count("counting an attempt failed") == (method != "internal_error")
    assert worker.output().count("RuntimeError: injected") <= 2  # the flush on stop logs the second


def test_wrong_settings_in_a_custom_worker_never_reach_a_job(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker]
) -> None:
    """With wrong settings and without the step that refuses them, jobs run and one warning is logged."""
    variables = {"WITHOUT_STEP": "1", "CELERY_HEALTH_MAX_CUSTOMERS": "many"}
    worker = start_worker(redis.url, app=APP, environ=variables)
    send(celery_app, "derived", "derived")
    worker.wait_for(r"(?s)(succeeded in.*){2}")  # written by the pool processes
    worker.wait_for("CELERY_HEALTH_MAX_CUSTOMERS")  # written by the main process
    assert worker.output().count("CELERY_HEALTH_MAX_CUSTOMERS") == 1


def test_a_resolver_names_the_customer_and_may_fail(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], read: Any
) -> None:
    """A resolver given by dotted path names the customer; when it raises, one line is logged and it is ``unknown``."""
    variables = {**FAST, "CELERY_HEALTH_CUSTOMER_RESOLVER": "tests.support.apps.user_jobs:customer_of"}
    worker = start_worker(redis.url, app=APP, environ=variables)
    send(celery_app, "order", order={"customer": "from the order"})
    send(celery_app, "derived", "derived")
    wait_until(lambda: read().ended() == 3, "all are counted", 30)
    found = read()
    assert found.total(f"{JOB}_completed_total", customer_id="from the order") == 1
    assert (
        found.total(f"{JOB}_completed_total", task_name="tests.support.apps.user_jobs.derived", customer_id="unknown")
        == 2
    )
    assert worker.output().count("customer_resolver failed for task tests.support.apps.user_jobs.derived") == 1


DEADLY = ("builtins:SystemExit", "builtins:KeyboardInterrupt", "asyncio:CancelledError", "gevent:Timeout")


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_no_exception_of_a_resolver_ends_the_worker(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], read: Any, pool: str
) -> None:
    """An exception that ``except Exception`` does not catch is logged once, and the customer is ``unknown``."""
    variables = {**FAST, "CELERY_HEALTH_CUSTOMER_RESOLVER": "tests.support.apps.user_jobs:customer_of"}
    worker = start_worker(redis.url, app=APP, pool=pool, environ=variables)
    for name in DEADLY:
        send(celery_app, "order", order={"raise": name})
    send(celery_app, "order", order={"customer": "the last"})
    wait_until(lambda: read().ended() == len(DEADLY) + 1 or not worker.alive, "all are counted", 30)
    found = read()
    assert found.total(f"{JOB}_completed_total", customer_id="unknown") == len(DEADLY)
    assert found.total(f"{JOB}_completed_total", customer_id="the last") == 1
    assert worker.output().count("customer_resolver failed for task tests.support.apps.user_jobs.order") == 1


def test_queue_wait_lasts_from_publishing_or_eta_to_the_start(
    redis: RedisServer, start_worker: Callable[..., Worker], read: Any
) -> None:
    """Queue wait starts at publishing or at the ETA, and is not observed for a job sent by name."""
    publisher = user_app(redis.url)
    wait = f"{JOB}_queue_wait_seconds"
    name = "tests.support.apps.user_jobs.derived"
    began = time.monotonic()
    publisher.tasks[name].delay("c")
    publisher.send_task(name, kwargs={"customer_id": "by name"})
    start_worker(redis.url, app=APP, environ=FAST)
    wait_until(lambda: read().ended() == 2, "both have run", 30)
    found, elapsed = read(), time.monotonic() - began
    assert found.get(f"{wait}_count", task_name=name) == 1
    assert 0.3 < (found.get(f"{wait}_sum", task_name=name) or 0) < elapsed
    publisher.tasks[name].apply_async(("c",), countdown=3)
    wait_until(lambda: read().ended() == 3, "the later one has run", 30)
    assert (read().get(f"{wait}_sum", task_name=name) or 0) - (found.get(f"{wait}_sum", task_name=name) or 0) < 2


def test_an_invalid_publishing_time_is_not_observed(
    redis: RedisServer, start_worker: Callable[..., Worker], read: Any
) -> None:
    """With any other value in our header, the attempt is counted, without a queue wait or an internal error."""
    publisher = user_app(redis.url)
    stamps = ["now", 1.5e9, float("nan"), True, -1, 0, 10**400, None, [1], int(time.time())]
    for stamp in stamps:
        publisher.send_task(
            "tests.support.apps.user_jobs.derived",
            kwargs={"customer_id": "c"},
            headers={PUBLISHED_HEADER: stamp},
            ignore_result=True,
        )
    start_worker(redis.url, app=APP, environ=FAST)
    wait_until(lambda: read().ended() == len(stamps), "all have run", 30)
    found = read()
    assert found.total(f"{JOB}_completed_total") == found.total(f"{JOB}_started_total") == len(stamps)
    assert found.total(f"{JOB}_queue_wait_seconds_count") == 0
    assert found.get("celery_health_internal_errors_total") in (None, 0)


def test_a_retry_has_a_new_publishing_time(redis: RedisServer, start_worker: Callable[..., Worker], read: Any) -> None:
    """The two seconds that the first attempt ran are not part of the queue wait of its retry."""
    publisher = user_app(redis.url)
    start_worker(redis.url, app=APP, environ=FAST)
    publisher.tasks["tests.support.apps.user_jobs.slow_retry"].delay("c")
    wait_until(lambda: read().ended() == 2, "both attempts are over", 30)
    found = read()
    assert found.total(f"{JOB}_queue_wait_seconds_count") == 2
    assert found.total(f"{JOB}_queue_wait_seconds_sum") < 1.5
