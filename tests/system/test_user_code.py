"""Counting beside code of users: overridden hooks, own requests, several apps, and faults of our own."""

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
    """Scrapes an application on the test's Redis."""
    web = make_app(celery_app).test_client()
    return lambda: Exposition(web.get("/metrics").text)


def send(client: Celery, *tasks: str, **kwargs: Any) -> None:
    """Publish one job for each task."""
    for task in tasks:
        client.send_task(f"tests.support.apps.user_jobs.{task}", kwargs=kwargs or {"customer_id": "c"})


def test_overridden_hooks_and_requests_count_and_a_foreign_request_is_named(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], read: Any
) -> None:
    """Subclasses of our task and request count once; one warning names each task whose Request is not ours."""
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
    """A custom worker that was built without the step still counts, and says so in one line."""
    worker = start_worker(redis.url, app=APP, environ={**FAST, "WITHOUT_STEP": "1"})
    send(celery_app, "derived", "derived", "overriding")
    wait_until(lambda: read().ended() == 3, "all are counted", 30)
    assert worker.output().count("runs without celery_health_bp.counting.bootstep:RecorderStep") == 1


@pytest.mark.parametrize("method", ["count", "internal_error", "take"])
def test_an_error_of_ours_never_reaches_a_job(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], read: Any, method: str
) -> None:
    """With any method of the ledger raising, jobs end as they should, and the log has one traceback."""
    worker = start_worker(redis.url, app=APP, environ={**FAST, "BREAK_LEDGER": method})
    send(celery_app, "derived", "derived", "derived", "overriding")
    worker.wait_for(r"(?s)(succeeded in.*){3}")
    worker.wait_for(r"raised unexpected: ValueError")
    if method == "count":  # a start and an end for each of four
        wait_until(lambda: read().get("celery_health_internal_errors_total") == 8, "the errors are counted", 30)
    worker.end()
    assert worker.output().count("counting an attempt failed") == (method != "internal_error")
    assert worker.output().count("RuntimeError: injected") <= 2  # the stop's own flush is the second


def test_wrong_settings_in_a_custom_worker_never_reach_a_job(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker]
) -> None:
    """Without the step, which refuses them at the start, wrong settings cost the counts and no job."""
    variables = {"WITHOUT_STEP": "1", "CELERY_HEALTH_MAX_CUSTOMERS": "many"}
    worker = start_worker(redis.url, app=APP, environ=variables)
    send(celery_app, "derived", "derived")
    worker.wait_for(r"(?s)(succeeded in.*){2}")  # the pool processes write this
    worker.wait_for("CELERY_HEALTH_MAX_CUSTOMERS")  # the main process writes this
    assert worker.output().count("CELERY_HEALTH_MAX_CUSTOMERS") == 1


def test_a_resolver_finds_the_customer_and_may_fail(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], read: Any
) -> None:
    """A resolver given as a dotted path names the customer; one that raises is logged once and counts as unknown."""
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
def test_nothing_that_a_resolver_raises_ends_the_worker(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], read: Any, pool: str
) -> None:
    """What no ``except Exception`` catches is logged once for a task, and its attempts count as unknown."""
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


def test_the_wait_lasts_from_publishing_or_eta_to_the_start(
    redis: RedisServer, start_worker: Callable[..., Worker], read: Any
) -> None:
    """A job waits since it was published, one with an ETA since then, one sent by name is not observed."""
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


def test_a_stamp_that_is_no_time_is_not_observed(
    redis: RedisServer, start_worker: Callable[..., Worker], read: Any
) -> None:
    """A header of our name with anything else in it costs neither the count nor an error."""
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


def test_a_retry_is_stamped_anew(redis: RedisServer, start_worker: Callable[..., Worker], read: Any) -> None:
    """An attempt that ran for two seconds and is retried at once does not count them as waiting."""
    publisher = user_app(redis.url)
    start_worker(redis.url, app=APP, environ=FAST)
    publisher.tasks["tests.support.apps.user_jobs.slow_retry"].delay("c")
    wait_until(lambda: read().ended() == 2, "both attempts are over", 30)
    found = read()
    assert found.total(f"{JOB}_queue_wait_seconds_count") == 2
    assert found.total(f"{JOB}_queue_wait_seconds_sum") < 1.5
