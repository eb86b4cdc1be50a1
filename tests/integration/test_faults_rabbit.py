"""RabbitMQ faults: each is reported by the deadline with its reason, and cleared by the next probe after it."""

from __future__ import annotations

import gc
import re
import threading
from collections.abc import Callable, Iterator

import pytest
from celery import Celery
from flask import Flask

from tests.support.network import Proxy, silent_port
from tests.support.nodes import ScriptedNode
from tests.support.probes import TIMEOUT, Probe, held, in_time, probe
from tests.support.processes import wait_until
from tests.support.servers import RabbitServer, free_port

pytestmark = pytest.mark.deadline


@pytest.fixture
def node(rabbit_app: Celery) -> Iterator[ScriptedNode]:
    """A scripted node on RabbitMQ that replies at once."""
    with ScriptedNode(rabbit_app, "node1@testhost") as one:
        yield one


WRONG_URLS = {
    "refused": (lambda url: f"amqp://guest:guest@127.0.0.1:{free_port()}//", "refused the connection", "Start the"),
    "password": (lambda url: url.replace("guest:guest", "guest:wrong"), "refused the credentials", "Check user name"),
    "vhost": (lambda url: url[:-1] + "elsewhere", "refused the virtual host", "Check the virtual host"),
    "tls": (lambda url: url.replace("amqp:", "amqps:"), "TLS handshake", "speaks TLS"),
}


@pytest.mark.parametrize(("url", "error", "advice"), WRONG_URLS.values(), ids=WRONG_URLS)
def test_a_wrong_url_is_reported_with_its_reason(
    url: Callable[[str], str], error: str, advice: str, rabbit: RabbitServer, make_app: Callable[..., Flask]
) -> None:
    """A URL that cannot work is 503 by the deadline, with the reason and its own advice."""
    found = probe(make_app(Celery("upstream", broker=url(rabbit.url)), timeout_seconds=TIMEOUT))
    assert found.status == 503
    assert in_time(found)
    assert re.search(error, found.error), found.error
    assert re.search(advice, found.advice), found.advice


def test_a_silent_port_is_reported_by_the_deadline(make_app: Callable[..., Flask]) -> None:
    """A port that accepts and does not answer is 503 by the deadline of the default timeout."""
    with silent_port() as port:
        found = probe(make_app(Celery(broker=f"amqp://127.0.0.1:{port}//")))
    assert found.status == 503
    assert in_time(found, 2)
    assert "did not answer in time" in found.error


@pytest.mark.parametrize("opened", [False, True], ids=["new", "opened"])
def test_dropped_packets_do_not_delay_a_probe(
    opened: bool, rabbit: RabbitServer, node: ScriptedNode, make_app: Callable[..., Flask]
) -> None:
    """While a proxy drops all packets probes are 503 by the deadline, and the first one after it is 200."""
    proxy = Proxy(rabbit.port)
    app = make_app(Celery(broker=f"amqp://127.0.0.1:{proxy.port}//"), cache_seconds=0, timeout_seconds=TIMEOUT)
    if opened:
        assert probe(app).status == 200
    proxy.drop()
    faulted = [probe(app), probe(app)]
    proxy.forward()
    after = probe(app)
    proxy.close()
    assert [found.status for found in faulted] == [503, 503]
    assert all(in_time(found) and "did not answer in time" in found.error for found in faulted), faulted
    assert after.status == 200


def test_packets_dropped_during_a_check_are_not_reported_as_missing_workers(
    rabbit: RabbitServer, node: ScriptedNode, make_app: Callable[..., Flask]
) -> None:
    """When the network fails while a check waits for a node, the error names the broker, and the next probe is 200."""
    proxy = Proxy(rabbit.port)
    app = make_app(Celery(broker=f"amqp://127.0.0.1:{proxy.port}//"), cache_seconds=0)
    assert probe(app).status == 200
    node.delay_seconds = 0.5
    answers: list[Probe] = []
    asking = threading.Thread(target=lambda: answers.append(probe(app)))
    asking.start()
    wait_until(lambda: node.received > 5, "the node has received the commands")
    proxy.drop()
    asking.join(10)
    proxy.forward()
    node.delay_seconds = 0
    after = probe(app)
    proxy.close()
    assert answers[0].status == 503
    assert in_time(answers[0], 2)
    assert "did not answer" in answers[0].error
    assert after.status == 200


def test_a_closed_idle_connection_is_replaced(
    rabbit: RabbitServer, node: ScriptedNode, make_app: Callable[..., Flask]
) -> None:
    """When a firewall has closed the idle connection, the next check opens another one and is 200."""
    proxy = Proxy(rabbit.port)
    app = make_app(Celery(broker=f"amqp://127.0.0.1:{proxy.port}//"), cache_seconds=0)
    before = probe(app)
    proxy.cut()
    after = probe(app)
    proxy.close()
    assert (before.status, after.status) == (200, 200)


@pytest.mark.parametrize("opened", [False, True], ids=["new", "opened"])
def test_a_memory_alarm_is_reported(
    opened: bool, rabbit: RabbitServer, node: ScriptedNode, rabbit_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """While RabbitMQ blocks publishers the error gives that reason, and the first probe after it is 200."""
    app = make_app(rabbit_app, cache_seconds=0)
    if opened:
        assert probe(app).status == 200
    rabbit.control("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        faulted = [probe(app), probe(app)]
    finally:
        rabbit.control("set_vm_memory_high_watermark", "0.6")
    after = probe(app)
    assert [found.status for found in faulted] == [503, 503]
    assert all(in_time(found, 2) and "blocks publishers" in found.error for found in faulted), faulted
    assert "Free memory" in faulted[0].advice
    assert after.status == 200


@pytest.mark.slow
def test_faulted_probes_leave_nothing_here(make_app: Callable[..., Flask]) -> None:
    """25 probes of a silent port leave no thread and no file descriptor."""
    with silent_port() as port:
        app = make_app(Celery(broker=f"amqp://127.0.0.1:{port}//"), cache_seconds=0, timeout_seconds=0.2)
        probe(app)
        gc.collect()  # so that garbage of earlier tests is not counted before
        before = held()
        assert {probe(app).status for _ in range(25)} == {503}
        wait_until(lambda: held() == before, f"{before} again, not {held()}", 10)


@pytest.mark.slow
def test_faulted_probes_leave_nothing_on_the_broker(rabbit: RabbitServer, make_app: Callable[..., Flask]) -> None:
    """Probes through a network that fails five times leave one connection and one queue."""
    proxy = Proxy(rabbit.port)
    app = make_app(Celery(broker=f"amqp://127.0.0.1:{proxy.port}//"), cache_seconds=0, timeout_seconds=0.2)
    for _ in range(5):
        proxy.drop()
        assert {probe(app).status for _ in range(3)} == {503}
        proxy.forward()
        wait_until(lambda: "No active Celery workers" in probe(app).error, "the broker is reached again", 5)
    wait_until(lambda: len(rabbit.queues()) == 1, "one queue")
    connections = rabbit.control("-q", "list_connections", "pid", "--no-table-headers").splitlines()
    proxy.close()
    assert len(connections) == 1
