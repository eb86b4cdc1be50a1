"""The way of the counts through Redis: exactly once, also when Redis or the network fails."""

from __future__ import annotations

import binascii
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import SHUT_RDWR, create_server
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from celery_health_bp import Settings
from celery_health_bp.stores import RedisStore
from tests.support.exposition import JOB, Exposition
from tests.support.processes import Worker, wait_until
from tests.support.proxy import Proxy
from tests.support.publishing import send
from tests.support.servers import DURABLE, RedisServer


@pytest.fixture
def totals(tmp_path: Path) -> Iterator[RedisServer]:
    """A second Redis, for the totals alone: it can fail while the broker works."""
    folder = tmp_path / "totals"
    folder.mkdir()
    server = RedisServer(folder, *DURABLE)
    yield server
    server.stop()


@pytest.fixture
def read(celery_app: Celery, make_app: Any, totals: RedisServer) -> Callable[[], Exposition]:
    """Scrapes an application that reads the totals from the second Redis."""
    web = make_app(celery_app, metrics_store=totals.url).test_client()
    return lambda: Exposition(web.get("/metrics").text)


def environ(store_url: str, interval: float = 0.1) -> dict[str, str]:
    """Of a worker whose totals go there."""
    return {"CELERY_HEALTH_METRICS_STORE": store_url, "CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": str(interval)}


def completed(read: Callable[[], Exposition]) -> float:
    """Attempts that returned, as the exposition says."""
    return read().total(f"{JOB}_completed_total")


def test_a_batch_whose_reply_was_lost_is_added_once(
    redis: RedisServer, totals: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], read: Any
) -> None:
    """The connection is cut after Redis has added a batch, three times: totals are right all the same."""
    with Proxy(totals.port) as proxy:
        start_worker(redis.url, environ=environ(proxy.url))
        for done in (20, 40, 60):
            proxy.to_lose = 1
            send(celery_app, 20)
            wait_until(lambda expected=done: proxy.to_lose == 0 and completed(read) >= expected, f"{done} counted", 30)
        before = proxy.requests
        send(celery_app, 1)  # what comes after has been added once the last job is there
        wait_until(lambda: completed(read) >= 61 and proxy.requests > before, "the last is counted", 30)
    assert completed(read) == 61
    assert read().get(f"{JOB}_duration_seconds_count", task_name="tests.support.apps.jobs.work") == 61


def run_for(client: Celery, worker: Worker, seconds: float) -> tuple[int, float]:
    """Run jobs for so long; how many, and the longest that ten of them took."""
    end, sent, longest = time.monotonic() + seconds, 0, 0.0
    before = worker.output().count(" succeeded in ")
    while time.monotonic() < end:
        began = time.monotonic()
        send(client, 10)
        sent += 10
        wait_until(lambda wanted=before + sent: worker.output().count(" succeeded in ") >= wanted, "ten jobs ran", 30)
        longest = max(longest, time.monotonic() - began)
    return sent, longest


@pytest.mark.parametrize("fault", ["stopped", "frozen"])
def test_jobs_go_on_while_redis_is_away_and_totals_are_right_afterwards(
    redis: RedisServer, totals: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], read: Any,
    fault: str,
) -> None:  # fmt: skip
    """With the totals' Redis away for seconds no job is slower than before, and every count arrives."""
    worker = start_worker(redis.url, environ=environ(totals.url))
    sent, usual = run_for(celery_app, worker, 3)
    (totals.stop if fault == "stopped" else totals.freeze)()
    more, longest = run_for(celery_app, worker, 6)
    (totals.start if fault == "stopped" else totals.thaw)()
    assert longest < 3 * usual + 0.5
    wait_until(lambda: completed(read) == sent + more, "every count has arrived", 40)
    assert worker.output().count("cannot be used") == 1
    assert "the store is back" in worker.output()


def test_a_redis_that_comes_back_empty_counts_from_then_on(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], totals: RedisServer, read: Any
) -> None:
    """After Redis lost its data, totals begin again with what comes after, and the worker goes on."""
    start_worker(redis.url, environ=environ(totals.url))
    send(celery_app, 10)
    wait_until(lambda: completed(read) == 10, "ten are counted", 30)
    client = Redis.from_url(totals.url)
    client.flushall()
    client.script_flush()
    client.close()
    send(celery_app, 5)
    wait_until(lambda: completed(read) == 5, "the five after it are counted", 30)


@pytest.fixture
def broken_tls(tmp_path: Path) -> Iterator[int]:
    """The port of a TLS server whose certificate nobody has signed."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=elsewhere"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed: the test is over
                return
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:  # the client refused the certificate
                connection.close()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(SHUT_RDWR)  # close() alone leaves its thread waiting
    listener.close()


def no_scripts(totals: RedisServer) -> str:
    """URL of a user who may do everything but run scripts."""
    with Redis.from_url(totals.url) as client:
        client.execute_command("ACL", "SETUSER", "someone", "on", ">s3cr3t", "~*", "&*", "+@all", "-@scripting")
    return f"redis://someone:s3cr3t@127.0.0.1:{totals.port}/0"


REFUSALS: dict[str, tuple[Callable[[RedisServer, int], str], str]] = {
    "no right to run scripts": (
        lambda totals, _: no_scripts(totals),
        r"refuses the call \(NoPermissionError\); .* until they are accepted; this does not pass by itself",
    ),
    "wrong password": (
        lambda totals, _: no_scripts(totals).replace("s3cr3t", "s3cr3ts"),
        r"refuses the call \(AuthenticationError\); .* until they are accepted; this does not pass by itself",
    ),
    "unsigned certificate": (
        lambda _, port: f"rediss://:s3cr3t@127.0.0.1:{port}/0",
        r"cannot be used \(SSLCertVerificationError\); .* when it is back",
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_store_that_refuses_is_said_once_and_the_worker_lives(
    redis: RedisServer, totals: RedisServer, broken_tls: int, celery_app: Celery,
    start_worker: Callable[..., Worker], refusal: str,
) -> None:  # fmt: skip
    """One line names place and cause and no password, retries back off, and jobs run."""
    make_url, line = REFUSALS[refusal]
    worker = start_worker(redis.url, environ=environ(make_url(totals, broken_tls), interval=0.05))
    send(celery_app, 1)
    worker.wait_for(rf"Redis at 127\.0\.0\.1:\d+, keys .* {line}")
    celery_app.send_task("tests.support.apps.jobs.work", kwargs={"seconds": 2})
    worker.wait_for(r"(?s)(succeeded in.*){2}")
    output = worker.output()
    assert output.count("counting goes on in memory") == 1
    assert "s3cr3t" not in output
    assert "Traceback" not in output
    assert worker.alive


def test_retries_back_off_while_the_store_is_away(
    redis: RedisServer, totals: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker]
) -> None:
    """In four seconds of refusals a worker that flushes every 50 ms asks Redis at most ten times."""
    url = no_scripts(totals)
    with Proxy(totals.port) as proxy:
        worker = start_worker(redis.url, environ=environ(url.replace(str(totals.port), str(proxy.port)), interval=0.05))
        celery_app.send_task("tests.support.apps.jobs.work", kwargs={"seconds": 4})
        worker.wait_for("succeeded in")
        assert 2 <= proxy.requests <= 10


def test_all_keys_lie_in_one_cluster_slot(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """Every key that the package writes has the same hash tag, so a script never leaves its slot."""
    start_worker(redis.url, environ=environ(redis.url))
    web = make_app(celery_app).test_client()
    send(celery_app, 3)
    wait_until(lambda: completed(lambda: Exposition(web.get("/metrics").text)) == 3, "they are counted", 30)
    with Redis.from_url(redis.url) as client:
        keys = [key.decode() for key in client.scan_iter("*celery_health*")]
    slots = {binascii.crc_hqx(key[key.index("{") + 1 : key.index("}")].encode(), 0) % 16384 for key in keys}
    assert len(keys) == 4  # totals, customers, id, one writer
    assert len(slots) == 1


def store(url: str, **settings: Any) -> RedisStore:
    """A store as a worker with these settings opens it."""
    return RedisStore.from_url(url, Celery("upstream", broker=url), Settings(**settings))


@pytest.mark.parametrize(
    ("variables", "line", "store"),
    [
        (
            {},
            r"job totals go to Redis at 127\.0\.0\.1:\d+, keys \{celery_health\}:\* every 1 s",
            ("redis", "redis://127.0.0.1:PORT/0", "{celery_health}"),
        ),
        (
            {"CELERY_HEALTH_METRICS_STORE": "control"},
            r"job totals stay in this worker \(control store\)",
            ("control", "", ""),
        ),
    ],
    ids=["auto", "control"],
)
def test_a_worker_says_at_its_start_where_its_totals_go(
    redis: RedisServer,
    celery_app: Celery,
    start_worker: Callable[..., Worker],
    variables: dict[str, str],
    line: str,
    store: tuple[str, str, str],
) -> None:
    """The log names the store that was picked, and so does the reply to ``stats``."""
    worker = start_worker(redis.url, environ=variables)
    worker.wait_for(line)
    with celery_app.connection_for_write() as connection:
        (stats,) = celery_app.control.inspect([worker.name], limit=1, connection=connection).stats().values()
    found = stats["celery_health"]["store"]
    assert (found["kind"], found["place"].replace(str(redis.port), "PORT"), found["keys"]) == store
