"""Redis in trouble: each fault is told in time and by name, and forgotten when it is over."""

from __future__ import annotations

import gc
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from celery import Celery
from flask import Flask

from tests.support.network import Proxy, silent_port
from tests.support.nodes import ScriptedNode
from tests.support.probes import TIMEOUT, Probe, held, in_time, probe
from tests.support.processes import wait_until
from tests.support.servers import RedisServer, free_port

pytestmark = pytest.mark.deadline

Fault = Callable[[RedisServer], Iterator[None]]


# -- a broker that was never reached --


def refused() -> str:
    """URL of a port where nobody listens."""
    return f"redis://127.0.0.1:{free_port()}/0"


WRONG_URLS = {
    "refused": (lambda redis: refused(), "refused the connection", "Start the broker"),
    "name": (lambda redis: "redis://no-such-host.invalid/0", "cannot be resolved|did not answer", "host name|network"),
    "database": (lambda redis: redis.url.replace("/0", "/99"), "cannot be used", "Check the broker"),
    "malformed": (lambda redis: "redis://:a#b@localhost:6379/0", "cannot be parsed", "percent-encoded"),
}


@pytest.mark.parametrize(("url", "error", "advice"), WRONG_URLS.values(), ids=WRONG_URLS)
def test_a_wrong_url_is_told_by_its_reason(
    url: Callable[[RedisServer], str], error: str, advice: str, redis: RedisServer, make_app: Callable[..., Flask]
) -> None:
    """503 in time, with the reason and its own advice."""
    found = probe(make_app(Celery("upstream", broker=url(redis)), timeout_seconds=TIMEOUT))
    assert found.status == 503
    assert in_time(found)
    assert re.search(error, found.error), found.error
    assert re.search(advice, found.advice), found.advice


def test_a_refusal_is_told_at_once(make_app: Callable[..., Flask]) -> None:
    """A port where nobody listens does not cost the timeout."""
    assert probe(make_app(Celery(broker=refused()))).seconds < 1


@pytest.mark.parametrize("password", ["", ":wrong@"])
def test_wrong_credentials_are_told(password: str, redis: RedisServer, make_app: Callable[..., Flask]) -> None:
    """A Redis that wants a password and gets none, or another one, refuses the credentials."""
    redis.client().config_set("requirepass", "secret")
    found = probe(make_app(Celery(broker=redis.url.replace("//", f"//{password}"))))
    assert "refused the credentials" in found.error
    assert found.advice == f"Check user name and password: {redis.url.removesuffix('/0')}"


def test_tls_to_a_plain_port(redis: RedisServer, make_app: Callable[..., Flask]) -> None:
    """A Redis without TLS says nothing to a handshake, and the error says what was tried."""
    app = Celery(broker=redis.url.replace("redis:", "rediss:"), broker_use_ssl={"ssl_cert_reqs": "none"})
    found = probe(make_app(app, timeout_seconds=TIMEOUT))
    assert in_time(found)
    assert "did not complete the TLS handshake in time" in found.error


def test_a_silent_port_is_given_up_in_time(make_app: Callable[..., Flask]) -> None:
    """A port that accepts and says nothing: 503 by the deadline, at the default timeout too."""
    with silent_port() as port:
        found = probe(make_app(Celery(broker=f"redis://127.0.0.1:{port}/0")))
    assert found.status == 503
    assert in_time(found, 2)
    assert "did not answer in time" in found.error


# -- a broker that fails and comes back --


def frozen(redis: RedisServer) -> Iterator[None]:
    """SIGSTOP."""
    redis.freeze()
    yield
    redis.thaw()


def paused(redis: RedisServer) -> Iterator[None]:
    """CLIENT PAUSE, which holds back its own end too."""
    redis.client().client_pause(3000)
    yield
    wait_until(redis.answers, "the pause is over")


def full(redis: RedisServer) -> Iterator[None]:
    """The memory limit is reached."""
    with redis.client() as client:
        client.config_set("maxmemory", 1)
    yield
    with redis.client() as client:
        client.config_set("maxmemory", 0)


def replica(redis: RedisServer) -> Iterator[None]:
    """It became a read-only replica."""
    redis.client().replicaof("127.0.0.1", str(free_port()))
    yield
    redis.client().replicaof("NO", "ONE")


FAULTS = {
    frozen: "did not answer in time",
    paused: "did not answer in time",
    full: "takes no writes: it has reached its memory limit",
    replica: "takes no writes: it is a read-only replica",
}


@pytest.mark.parametrize("opened", [False, True], ids=["new", "opened"])
@pytest.mark.parametrize(("fault", "error"), FAULTS.items(), ids=[fault.__name__ for fault in FAULTS])
def test_a_fault_is_told_in_time_and_forgotten_at_once(
    fault: Fault,
    error: str,
    opened: bool,
    redis: RedisServer,
    node: ScriptedNode,
    celery_app: Celery,
    make_app: Callable[..., Flask],
) -> None:
    """With and without an open connection: 503 with the reason, and 200 on the first probe after it."""
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


def test_bad_news_is_not_kept(
    redis: RedisServer, node: ScriptedNode, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """With a long cache too, the first probe after a fault is right."""
    app = make_app(celery_app, cache_seconds=60, timeout_seconds=TIMEOUT)
    redis.freeze()
    faulted = probe(app)
    redis.thaw()
    assert (faulted.status, probe(app).status) == (503, 200)


def test_a_broker_that_freezes_during_a_check_is_not_taken_for_missing_workers(
    redis: RedisServer, node: ScriptedNode, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """While a slow node is awaited Redis stops: the error names the broker, and the next probe is right."""
    app = make_app(celery_app, cache_seconds=0)
    assert probe(app).status == 200
    node.delay_seconds = 0.5
    answers: list[Probe] = []
    asking = threading.Thread(target=lambda: answers.append(probe(app)))
    asking.start()
    wait_until(lambda: node.asked > 5, "the node has been asked")
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
def test_dropped_packets_do_not_hang_a_probe(
    opened: bool, redis: RedisServer, node: ScriptedNode, make_app: Callable[..., Flask]
) -> None:
    """Nothing gets through any more: 503 by the deadline, 200 on the first probe after it."""
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
def test_a_connection_that_died_meanwhile_costs_no_wrong_answer(
    redis: RedisServer, node: ScriptedNode, make_app: Callable[..., Flask]
) -> None:
    """A firewall closed our idle connection: the next check opens another one and is right."""
    proxy = Proxy(redis.port)
    app = make_app(Celery(broker=f"redis://127.0.0.1:{proxy.port}/0"), cache_seconds=0)
    before = probe(app)
    proxy.cut()
    after = probe(app)
    proxy.close()
    assert (before.status, after.status) == (200, 200)


def test_missing_workers_are_not_taken_for_a_silent_broker(celery_app: Celery, make_app: Callable[..., Flask]) -> None:
    """Nobody answers: the check ends at its deadline, not when Redis ends a wait of its own a second later."""
    found = probe(make_app(celery_app, timeout_seconds=1.5))
    assert found.error == "No active Celery workers found"
    assert in_time(found, 1.5)


def test_a_loading_redis_is_told(redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask]) -> None:
    """A Redis that reads its data back says so, and we say it too until it is done."""
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

    wait_until(loading, "loading is told", 3)
    assert all(in_time(one) for one in found)
    wait_until(redis.answers, "it has loaded")
    assert probe(app).error == "No active Celery workers found"


def test_replies_that_trickle_in_do_not_stretch_the_check(
    redis: RedisServer, node: ScriptedNode, celery_app: Celery, make_app: Callable[..., Flask]
) -> None:
    """Five replies 0.9 s apart: the deadline is for all of them together."""
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
    """50 probes of a broker that is frozen and then full: no thread, file, connection or key more."""
    app = make_app(celery_app, cache_seconds=0, timeout_seconds=0.3)
    client = redis.client()
    probe(app)

    def all_held() -> tuple[tuple[int, int], int, int, int]:
        bindings = client.scard("_kombu.binding.reply.celery.pidbox")
        return held(), len(client.client_list()), client.dbsize(), bindings

    gc.collect()  # else what an earlier test has left to the collector is missing in the end
    before = all_held()
    for fault in (frozen, full):
        with contextmanager(fault)(redis):
            assert {probe(app).status for _ in range(25)} == {503}
        assert probe(app).status == 200
    wait_until(lambda: all_held() == before, f"{before} again, not {all_held()}", 10)
