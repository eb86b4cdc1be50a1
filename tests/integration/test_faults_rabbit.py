"""RabbitMQ in trouble: each fault is told in time and by name, and forgotten when it is over."""

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
    """A node that answers at once."""
    with ScriptedNode(rabbit_app, "node1@testhost") as one:
        yield one


WRONG_URLS = {
    "refused": (lambda url: f"amqp://guest:guest@127.0.0.1:{free_port()}//", "refused the connection", "Start the"),
    "password": (lambda url: url.replace("guest:guest", "guest:wrong"), "refused the credentials", "Check user name"),
    "vhost": (lambda url: url[:-1] + "elsewhere", "refused the virtual host", "Check the virtual host"),
    "tls": (lambda url: url.replace("amqp:", "amqps:"), "TLS handshake", "speaks TLS"),
}


@pytest.mark.parametrize(("url", "error", "advice"), WRONG_URLS.values(), ids=WRONG_URLS)
def test_a_wrong_url_is_told_by_its_reason(
    url: Callable[[str], str], error: str, advice: str, rabbit: RabbitServer, make_app: Callable[..., Flask]
) -> None:
    """503 in time, with the reason and its own advice."""
    found = probe(make_app(Celery("upstream", broker=url(rabbit.url)), timeout_seconds=TIMEOUT))
    assert found.status == 503
    assert in_time(found)
    assert re.search(error, found.error), found.error
    assert re.search(advice, found.advice), found.advice


def test_a_silent_port_is_given_up_in_time(make_app: Callable[..., Flask]) -> None:
    """A port that accepts and says nothing: 503 by the deadline, at the default timeout too."""
    with silent_port() as port:
        found = probe(make_app(Celery(broker=f"amqp://127.0.0.1:{port}//")))
    assert found.status == 503
    assert in_time(found, 2)
    assert "did not answer in time" in found.error


@pytest.mark.parametrize("opened", [False, True], ids=["new", "opened"])
def test_dropped_packets_do_not_hang_a_probe(
    opened: bool, rabbit: RabbitServer, node: ScriptedNode, make_app: Callable[..., Flask]
) -> None:
    """Nothing gets through any more: 503 by the deadline, 200 on the first probe after it."""
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


def test_packets_dropped_during_a_check_are_not_taken_for_missing_workers(
    rabbit: RabbitServer, node: ScriptedNode, make_app: Callable[..., Flask]
) -> None:
    """While a slow node is awaited the network goes: the error names the broker."""
    proxy = Proxy(rabbit.port)
    app = make_app(Celery(broker=f"amqp://127.0.0.1:{proxy.port}//"), cache_seconds=0)
    assert probe(app).status == 200
    node.delay_seconds = 0.5
    answers: list[Probe] = []
    asking = threading.Thread(target=lambda: answers.append(probe(app)))
    asking.start()
    wait_until(lambda: node.asked > 5, "the node has been asked")
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


def test_a_connection_that_died_meanwhile_costs_no_wrong_answer(
    rabbit: RabbitServer, node: ScriptedNode, make_app: Callable[..., Flask]
) -> None:
    """A firewall closed our idle connection: the next check opens another one and is right."""
    proxy = Proxy(rabbit.port)
    app = make_app(Celery(broker=f"amqp://127.0.0.1:{proxy.port}//"), cache_seconds=0)
    before = probe(app)
    proxy.cut()
    after = probe(app)
    proxy.close()
    assert (before.status, after.status) == (200, 200)


@pytest.mark.parametrize("opened", [False, True], ids=["new", "opened"])
def test_a_memory_alarm_is_told_as_such(
    opened: bool, rabbit: RabbitServer, node: ScriptedNode, rabbit_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """RabbitMQ blocks publishers: the error says so, not that workers are missing; 200 when it is over."""
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


def test_faulted_probes_leave_nothing_here(make_app: Callable[..., Flask]) -> None:
    """25 probes of a silent port: no thread and no file descriptor more."""
    with silent_port() as port:
        app = make_app(Celery(broker=f"amqp://127.0.0.1:{port}//"), cache_seconds=0, timeout_seconds=0.2)
        probe(app)
        gc.collect()  # else what an earlier test has left to the collector is missing in the end
        before = held()
        assert {probe(app).status for _ in range(25)} == {503}
        wait_until(lambda: held() == before, f"{before} again, not {held()}", 10)


@pytest.mark.slow
def test_faulted_probes_leave_nothing_on_the_broker(rabbit: RabbitServer, make_app: Callable[..., Flask]) -> None:
    """Probes through a network that drops everything by turns: one connection and one queue are left."""
    proxy = Proxy(rabbit.port)
    app = make_app(Celery(broker=f"amqp://127.0.0.1:{proxy.port}//"), cache_seconds=0, timeout_seconds=0.2)
    for _ in range(5):
        proxy.drop()
        assert {probe(app).status for _ in range(3)} == {503}
        proxy.forward()
        wait_until(lambda: "No active Celery workers" in probe(app).error, "the broker is found again", 5)
    wait_until(lambda: len(rabbit.control("-q", "list_queues", "--no-table-headers").splitlines()) == 1, "one queue")
    connections = rabbit.control("-q", "list_connections", "pid", "--no-table-headers").splitlines()
    proxy.close()
    assert len(connections) == 1
