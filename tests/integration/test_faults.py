"""Redis faults: each is reported by the deadline with its reason, and cleared by the next probe after it."""

from __future__ import annotations

import gc
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from celery import Celery
from flask import Flask
from redis import Redis

from tests.support.network import Proxy, silent_port
from tests.support.nodes import ScriptedNode
from tests.support.probes import TIMEOUT, Probe, held, in_time, probe
from tests.support.processes import wait_until
from tests.support.servers import RedisServer, free_port

pytestmark = pytest.mark.deadline

Fault = Callable[[RedisServer], Iterator[None]]


# -- a broker that cannot be reached --


def refused() -> str:
    """Return the URL of a port without a listener."""
    return f"redis://127.0.0.1:{free_port()}/0"


WRONG_URLS = {
    "refused": (lambda redis: refused(), "refused the connection", "Start the broker"),
    "name": (lambda redis: "redis://no-such-host.invalid/0", "cannot be resolved|did not answer", "host name|network"),
    "database": (lambda redis: redis.url.replace("/0", "/99"), "cannot be used", "Check the broker"),
    "malformed": (lambda redis: "redis://:a#b@localhost:6379/0", "cannot be parsed", "percent-encoded"),
}


@pytest.mark.parametrize(("url", "error", "advice"), WRONG_URLS.values(), ids=WRONG_URLS)
def test_a_wrong_url_is_reported_with_its_reason(
    url: Callable[[RedisServer], str], error: str, advice: str, redis: RedisServer, make_app: Callable[..., Flask]
) -> None:
    """A URL that cannot work is 503 by the deadline, with the reason and its own advice."""
    found = probe(make_app(Celery("upstream", broker=url(redis)), timeout_seconds=TIMEOUT))
    assert found.status == 503
    assert in_time(found)
    assert re.search(error, found.error), found.error
    assert re.search(advice, found.advice), found.advice


def test_a_refused_connection_is_reported_at_once(make_app: Callable[..., Flask]) -> None:
    """A check of a port without a listener takes less than half of the timeout."""
    assert probe(make_app(Celery(broker=refused()))).seconds < 1


@pytest.mark.parametrize("password", ["", ":wrong@"])
def test_wrong_credentials_are_reported(
    password: str, redis: RedisServer, admin: Redis, make_app: Callable[..., Flask]
) -> None:
    """A Redis that requires a password, and gets none or a wrong one, is reported as refusing the credentials."""
    admin.config_set("requirepass", "secret")
    found = probe(make_app(Celery(broker=redis.url.replace("//", f"//{password}"))))
    admin.config_set("requirepass", "")  # for the fixture, which looks for left reply queues
    assert "refused the credentials" in found.error
    assert found.advice == f"Check user name and password: {redis.url.removesuffix('/0')}"


def test_a_tls_handshake_with_a_plain_port_is_reported(redis: RedisServer, make_app: Callable[..., Flask]) -> None:
    """A Redis without TLS does not answer a handshake: the error names the handshake, by the deadline."""
    app = Celery(broker=redis.url.replace("redis:", "rediss:"), broker_use_ssl={"ssl_cert_reqs": "none"})
    found = probe(make_app(app, timeout_seconds=TIMEOUT))
    assert in_time(found)
    assert "did not complete the TLS handshake in time" in found.error


def test_a_silent_port_is_reported_by_the_deadline(make_app: Callable[..., Flask]) -> None:
    """A port that accepts and does not answer is 503 by the deadline of the default timeout."""
    with silent_port() as port:
        found = probe(make_app(Celery(broker=f"redis://127.0.0.1:{port}/0")))
    assert found.status == 503
    assert in_time(found, 2)
    assert "did not answer in time" in found.error


# -- a broker that fails and comes back --


def frozen(redis: RedisServer) -> Iterator[None]:
    """Stop Redis with SIGSTOP."""
    redis.freeze()
    yield
    redis.thaw()


def paused(redis: RedisServer) -> Iterator[None]:
    """Pause all clients; ``CLIENT UNPAUSE`` would wait too, so the pause ends by itself, after two probes."""
    redis.client().client_pause(int(2.5 * TIMEOUT * 1000))
    yield
    wait_until(redis.answers, "the pause is over")


def full(redis: RedisServer) -> Iterator[None]:
    """Let Redis reach its memory limit."""
    with redis.client() as client:
        client.config_set("maxmemory", 1)
    yield
    with redis.client() as client:
        client.config_set("maxmemory", 0)


def replica(redis: RedisServer) -> Iterator[None]:
    """Make Redis a read-only replica."""
    redis.client().replicaof("127.0.0.1", str(free_port()))
    yield
    redis.client().replicaof("NO", "ONE")


FAULTS = {
    frozen: "did not answer in time",
    paused: "did not answer in time",
    full: "takes no writes: it has reached its memory limit",
    replica: "takes no writes: it is a read-only replica",
}


@pytest.mark.parametrize("opened", [pytest.param(False, marks=pytest.mark.slow), True], ids=["new", "opened"])
@pytest.mark.parametrize(("fault", "error"), FAULTS.items(), ids=[fault.__name__ for fault in FAULTS])
def test_a_fault_is_reported_in_time_and_cleared_at_once(
    fault: Fault,
    error: str,
    opened: bool,
    redis: RedisServer,
    node: ScriptedNode,
    celery_app: Celery,
    make_app: Callable[..., Flask],
) -> None:
    """With and without an open connection, a fault is 503 with its reason, and the first probe after it is 200."""
    app = make_app(celery_app, cache_seconds=0, timeout_seconds=TIMEOUT)
    if opened:
        assert probe(app).status == 200
    with contextmanager(fault)(redis):
        faulted = [probe(app), probe(app)]
    after = probe(app)
    assert [found.status for found in faulted] == [503, 503]
    assert all(in_time(found) and error in found.error for found in faulted), faulted
    assert redis.url.removesuffix("/0") in faulted[0].advice
    assert (after.status, after.workers) == (200, ["node1@testhost"])


def test_a_failed_check_is_not_cached(
    redis: RedisServer, node: ScriptedNode, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """With a long ``cache_seconds`` the first probe after a fault is 200."""
    app = make_app(celery_app, cache_seconds=60, timeout_seconds=TIMEOUT)
    redis.freeze()
    faulted = probe(app)
    redis.thaw()
    assert (faulted.status, probe(app).status) == (503, 200)


def test_a_broker_that_freezes_during_a_check_is_not_reported_as_missing_workers(
    redis: RedisServer, node: ScriptedNode, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """When Redis freezes while a check waits for a node, the error names the broker, and the next probe is 200."""
    app = make_app(celery_app, cache_seconds=0)
    assert probe(app).status == 200
    node.delay_seconds = 0.5
    answers: list[Probe] = []
    asking = threading.Thread(target=lambda: answers.append(probe(app)))
    asking.start()
    wait_until(lambda: node.received > 5, "the node has received the commands")
    redis.freeze()
    asking.join(10)
    redis.thaw()
    node.delay_seconds = 0
    assert answers[0].status == 503
    assert in_time(answers[0], 2)
    assert "did not answer" in answers[0].error
    assert probe(app).status == 200


@pytest.mark.leaves("broker", reason="the way to the broker is cut when the client closes")
@pytest.mark.parametrize("opened", [False, True], ids=["new", "opened"])
def test_dropped_packets_do_not_delay_a_probe(
    opened: bool, redis: RedisServer, node: ScriptedNode, make_app: Callable[..., Flask]
) -> None:
    """While a proxy drops all packets probes are 503 by the deadline, and the first one after it is 200."""
    proxy = Proxy(redis.port)
    app = make_app(Celery(broker=f"redis://127.0.0.1:{proxy.port}/0"), cache_seconds=0, timeout_seconds=TIMEOUT)
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


@pytest.mark.leaves("broker", reason="the way to the broker is cut when the client closes")
def test_a_closed_idle_connection_is_replaced(
    redis: RedisServer, node: ScriptedNode, make_app: Callable[..., Flask]
) -> None:
    """When a firewall has closed the idle connection, the next check opens another one and is 200."""
    proxy = Proxy(redis.port)
    app = make_app(Celery(broker=f"redis://127.0.0.1:{proxy.port}/0"), cache_seconds=0)
    before = probe(app)
    proxy.cut()
    after = probe(app)
    proxy.close()
    assert (before.status, after.status) == (200, 200)


def test_missing_workers_are_not_reported_as_a_silent_broker(
    celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """Without workers the check ends at its deadline, not when Redis ends the BRPOP under way, a second later."""
    found = probe(make_app(celery_app, timeout_seconds=1.5))
    assert found.error == "No active Celery workers found"
    assert in_time(found, 1.5)


def test_a_loading_redis_is_reported(redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask]) -> None:
    """While Redis loads its data the error gives that reason, by the deadline."""
    with redis.client() as client:
        client.mset({f"key{number}": "x" * 64 for number in range(3000)})
        client.save()
    redis.stop()
    redis.start("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024", ready=False)
    app = make_app(celery_app, cache_seconds=0, timeout_seconds=TIMEOUT)
    found: list[Probe] = []

    def loading() -> bool:
        found.append(probe(app))
        return "is still loading its data" in found[-1].error

    wait_until(loading, "loading is reported", 3)
    with redis.client() as client:
        client.config_set("key-load-delay", 0)  # the rest loads at once
    assert all(in_time(one) for one in found)
    wait_until(redis.answers, "it has loaded")
    assert probe(app).error == "No active Celery workers found"


def test_slow_replies_do_not_extend_a_check(
    redis: RedisServer, node: ScriptedNode, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """Five replies 0.9 s apart share one deadline."""
    app = make_app(celery_app, cache_seconds=0)
    assert probe(app).status == 200
    node.delay_seconds = 0.9
    found = probe(app)
    node.delay_seconds = 0
    assert in_time(found, 2)
    assert found.workers == ["node1@testhost"]


@pytest.mark.slow
def test_faulted_probes_leave_nothing_behind(
    redis: RedisServer, node: ScriptedNode, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """50 probes of a frozen and then full broker leave no thread, file, connection or key."""
    app = make_app(celery_app, cache_seconds=0, timeout_seconds=0.3)
    client = redis.client()
    probe(app)

    def all_held() -> tuple[tuple[int, int], int, int, int]:
        bindings = client.scard("_kombu.binding.reply.celery.pidbox")
        return held(), len(client.client_list()), client.dbsize(), bindings

    gc.collect()  # so that garbage of earlier tests is not counted before
    before = all_held()
    for fault in (frozen, full):
        with contextmanager(fault)(redis):
            assert {probe(app).status for _ in range(25)} == {503}
        assert probe(app).status == 200
    wait_until(lambda: all_held() == before, f"{before} again, not {all_held()}", 10)
