"""What hardly ever happens is answered all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from billiard.pool import MaybeEncodingError
from celery import Celery
from flask import Flask
from kombu.transport import memory
from prometheus_client import CollectorRegistry, generate_latest

from celery_health_bp import CeleryHealth, MetricsMiddleware, MonitoredTask, Settings, create_blueprint
from celery_health_bp.cli.render import lines
from celery_health_bp.counting.customers import CustomerFinder
from celery_health_bp.report import Observation, judge
from celery_health_bp.versions import class_name
from celery_health_bp.web.collector import CeleryCollector

from .exposition import Exposition
from .network import silent_port
from .nodes import REPLIES, ScriptedNode
from .probes import PATH, probe
from .servers import RabbitServer, RedisServer


@pytest.mark.parametrize("path", [PATH, "/metrics"])
def test_a_factory_that_raises_is_a_500_that_tells_nothing(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """An error of the application's own code is our error body with a fixed sentence; the log has the rest."""

    def factory() -> Celery:
        raise RuntimeError("s3cret")

    health = CeleryHealth(factory, Settings())
    app = Flask("web")
    app.register_blueprint(create_blueprint(health), url_prefix="/api/celery")
    app.wsgi_app = MetricsMiddleware(app.wsgi_app, health)  # type: ignore[method-assign]
    answer = app.test_client().get(path)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (500, "internal_error")
    assert "s3cret" not in answer.text
    assert "RuntimeError: s3cret" in caplog.text


def test_registering_the_collector_asks_nobody() -> None:
    """A registry that takes the collector does not even make the Celery app."""
    CollectorRegistry().register(CeleryCollector(CeleryHealth(lambda: pytest.fail("asked"), Settings())))


def test_an_eager_run_does_not_suffer_from_wrong_settings(caplog: pytest.LogCaptureFixture) -> None:
    """With settings that cannot be read the job returns, and one line of the log says that it is not counted."""
    app = Celery("eager", broker="memory://", task_cls=MonitoredTask, set_as_current=False)
    app.conf.celery_health = {"max_customers": "many"}

    @app.task(name="any", shared=False)
    def task() -> str:
        return "done"

    assert [task.apply().get() for _ in range(2)] == ["done", "done"]
    assert caplog.text.count("attempts may go uncounted; the jobs are not affected: max_customers=") == 1


def test_a_function_without_a_signature_has_no_customer() -> None:
    """A task whose arguments cannot be known counts for nobody."""
    task = SimpleNamespace(name="odd", run=SimpleNamespace(__signature__="none"))
    assert CustomerFinder(task, Settings()).find(("acme",), {}) == "unknown"


def test_a_report_on_nothing_has_nothing_below_its_headline() -> None:
    """Without workers and queues the command shows the advice alone."""
    report = judge(Observation(0, 0), Settings(), "proj")
    assert [line.partition(":")[0] for line in lines(report, Settings(), verbose=False)] == ["Recommendation"]


@pytest.mark.deadline
def test_a_list_of_silent_stores_holds_no_scrape(redis: RedisServer, make_app: Callable[..., Flask]) -> None:
    """However many servers of the store are silent, /metrics answers by the deadline, without job totals."""
    with silent_port() as first, silent_port() as second, Celery(broker=redis.url, set_as_current=False) as app:
        store = f"redis://127.0.0.1:{first}/0;redis://127.0.0.1:{second}/0"
        client = make_app(app, metrics_store=store, timeout_seconds=0.5).test_client()
        began = time.monotonic()
        answer = client.get("/metrics")
        assert time.monotonic() - began < 1.2  # the workers and the store, each half a second and a tenth of it
    assert answer.status_code == 200
    assert 'celery_health_scrape_success{source="store"} 0.0' in answer.text


def test_a_store_whose_host_no_name_server_takes_fails_no_scrape(
    redis: RedisServer, make_app: Callable[..., Flask]
) -> None:
    """A host name with an empty label raises no error of Redis: the rest of /metrics is there all the same."""
    with Celery(broker=redis.url, set_as_current=False) as app:
        answer = make_app(app, metrics_store="redis://redis..svc/0", timeout_seconds=1).test_client().get("/metrics")
    assert answer.status_code == 200
    assert 'celery_health_scrape_success{source="store"} 0.0' in answer.text


def test_queues_that_were_not_asked_for_are_not_read(make_app: Callable[..., Flask]) -> None:
    """While the application is still being made nothing is read, queues neither."""
    asking, ready = threading.Event(), threading.Event()

    def factory() -> Celery:
        asking.set()
        ready.wait(10)
        return Celery(broker="memory://", set_as_current=False)

    health = CeleryHealth(factory, Settings(timeout_seconds=0.2))
    first = threading.Thread(target=health.check)
    first.start()
    try:
        assert asking.wait(10)
        text = generate_latest(CeleryCollector(health)).decode()  # type: ignore[arg-type]
    finally:
        ready.set()
        first.join(10)
        health.close()
    assert 'celery_health_scrape_success{source="queues"} 0.0' in text


def test_a_length_that_is_not_known_makes_no_series(rabbit: RabbitServer, make_app: Callable[..., Flask]) -> None:
    """A queue that RabbitMQ does not have is left out of the exposition, which says that it was not read."""
    app = make_app(Celery(broker=rabbit.url), queues=("nowhere",), timeout_seconds=0.5)
    found = Exposition(app.test_client().get("/metrics").text)
    assert list(found.series("celery_queue_length")) == []
    assert found.get("celery_health_scrape_success", source="queues") == 0


def test_consumers_that_are_not_known_make_no_series(celery_app: Celery, make_app: Callable[..., Flask]) -> None:
    """Where a worker does not say what it consumes, no queue shows a number of consumers."""
    with ScriptedNode(celery_app, "a@t", {**REPLIES, "active_queues": None}):
        found = Exposition(make_app(celery_app).test_client().get("/metrics").text)
    assert found.get("celery_workers") == 1
    assert list(found.series("celery_queue_consumers")) == []


URLS = {
    "a port that is none": ("redis://127.0.0.1:port/0", "The broker URL cannot be parsed"),
    "a Unix socket": ("redis+socket:///nowhere/redis.sock", "on a Unix socket"),
    "no such transport": ("nonsense://127.0.0.1", "Celery has no transport for nonsense:// brokers"),
}


@pytest.mark.leaves("descriptors", reason="redis-py 4.6 leaves a Unix socket that it cannot connect to the collector")
@pytest.mark.parametrize(("url", "error"), URLS.values(), ids=URLS)
def test_an_odd_url_is_told(url: str, error: str, make_app: Callable[..., Flask]) -> None:
    """503 with a sentence of ours."""
    found = probe(make_app(Celery(broker=url), metrics_store="control"))
    assert found.status == 503
    assert error in found.error


class OwnTransport(memory.Transport):
    """A transport of the user's own."""

    driver_type = driver_name = "own"


def test_a_transport_of_the_users_own_is_asked(make_app: Callable[..., Flask]) -> None:
    """A broker that we know nothing of gets no options of ours, and is used."""
    app = Celery(broker_transport=f"{__name__}:OwnTransport", broker_transport_options={"polling_interval": 0.01})
    assert probe(make_app(app, metrics_store="control", timeout_seconds=0.3)).error == "No active Celery workers found"


@pytest.mark.parametrize(
    ("value", "name"), [("<ExceptionInfo: Unpicklable('lock')>", "Unpicklable"), ("", "MaybeEncodingError")]
)
def test_an_exception_that_arrives_as_text_keeps_its_name(value: str, name: str) -> None:
    """The pool of Celery 5.2 sends the text of what could not be pickled: its class is found in it, if it is there."""
    assert class_name(MaybeEncodingError("cannot pickle", value)) == name
