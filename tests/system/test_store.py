"""Counts reach Redis exactly once, also when Redis or the network fails."""

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
from tests.support.lossy_proxy import LossyProxy
from tests.support.processes import Worker, wait_until
from tests.support.publishing import send
from tests.support.servers import DURABLE, RedisServer


@pytest.fixture
def totals(tmp_path: Path) -> Iterator[RedisServer]:
    """Yield a second Redis for the totals, so that it can fail while the broker works."""
    folder = tmp_path / "totals"
    folder.mkdir()
    server = RedisServer(folder, *DURABLE)
    yield server
    server.stop()


@pytest.fixture
def read(celery_app: Celery, make_app: Any, totals: RedisServer) -> Callable[[], Exposition]:
    """Return a function that scrapes an application with the second Redis as its store."""
    web = make_app(celery_app, metrics_store=totals.url).test_client()
    return lambda: Exposition(web.get("/metrics").text)


def environ(store_url: str, interval: float = 0.1) -> dict[str, str]:
    """Return the environment of a worker with this store."""
    return {"CELERY_HEALTH_METRICS_STORE": store_url, "CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": str(interval)}


def completed(read: Callable[[], Exposition]) -> float:
    """Return the number of completed attempts in the exposition."""
    return read().total(f"{JOB}_completed_total")


def test_a_batch_is_added_once_when_its_reply_is_lost(
    redis: RedisServer, totals: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], read: Any
) -> None:
    """The totals are exact after three batches whose connection was cut before the reply."""
    with LossyProxy(totals.port) as proxy:
        start_worker(redis.url, environ=environ(proxy.url))
        for done in (20, 40, 60):
            proxy.to_lose = 1
            send(celery_app, 20)
            wait_until(lambda expected=done: proxy.to_lose == 0 and completed(read) >= expected, f"{done} counted", 30)
        before = proxy.requests
        send(celery_app, 1)  # a batch that was added twice would show by then
        wait_until(lambda: completed(read) >= 61 and proxy.requests > before, "the last is counted", 30)
    assert completed(read) == 61
    assert read().get(f"{JOB}_duration_seconds_count", task_name="tests.support.apps.jobs.work") == 61


def run_for(client: Celery, worker: Worker, seconds: float) -> tuple[int, float]:
    """Run jobs for so long; return their number and the longest time that ten of them took."""
    end, sent, longest = time.monotonic() + seconds, 0, 0.0
    before = worker.output().count(" succeeded in ")
    while time.monotonic() < end:
        began = time.monotonic()
        send(client, 10)
        sent += 10
        wait_until(lambda wanted=before + sent: worker.output().count(" succeeded in ") >= wanted, "ten jobs ran", 30)
        longest = max(longest, time.monotonic() - began)
    return sent, longest


@pytest.mark.parametrize("fault", [pytest.param("stopped", marks=pytest.mark.slow), "frozen"])
def test_jobs_are_not_delayed_while_the_store_is_down(
    redis: RedisServer, totals: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], read: Any,
    fault: str,
) -> None:  # fmt: skip
    """While the store is down for seconds, jobs are as fast as before; afterwards every count arrives."""
    worker = start_worker(redis.url, environ=environ(totals.url))
    sent, usual = run_for(celery_app, worker, 2)
    (totals.stop if fault == "stopped" else totals.freeze)()
    more, longest = run_for(celery_app, worker, 4)
    (totals.start if fault == "stopped" else totals.thaw)()
    assert longest < 3 * usual + 0.5
    wait_until(lambda: completed(read) == sent + more, "every count has arrived", 40)
    assert worker.output().count("cannot be used") == 1
    assert "the store is back" in worker.output()


def test_totals_start_again_after_redis_lost_its_data(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], totals: RedisServer, read: Any
) -> None:
    """After Redis has lost its data, the totals hold exactly the counts that follow."""
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
    """Yield the port of a TLS server with a self-signed certificate."""
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
    listener.shutdown(SHUT_RDWR)  # close() alone would leave its thread waiting
    listener.close()


def no_scripts(totals: RedisServer) -> str:
    """Return the URL of a user with all rights but scripting."""
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
def test_a_store_that_refuses_is_logged_once_and_jobs_run(
    redis: RedisServer, totals: RedisServer, broken_tls: int, celery_app: Celery,
    start_worker: Callable[..., Worker], refusal: str,
) -> None:  # fmt: skip
    """One log line names place and cause without the password, and jobs still run."""
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
    """In four seconds of refusals, a worker with a flush interval of 50 ms calls Redis at most ten times."""
    url = no_scripts(totals)
    with LossyProxy(totals.port) as proxy:
        worker = start_worker(redis.url, environ=environ(url.replace(str(totals.port), str(proxy.port)), interval=0.05))
        celery_app.send_task("tests.support.apps.jobs.work", kwargs={"seconds": 4})
        worker.wait_for("succeeded in")
        assert 2 <= proxy.requests <= 10


def test_all_keys_lie_in_one_cluster_slot(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """All keys of this package have the same hash tag, so every script stays within one slot."""
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
    """Return a store as a worker with these settings opens it."""
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
def test_a_worker_logs_its_store_when_it_starts(
    redis: RedisServer,
    celery_app: Celery,
    start_worker: Callable[..., Worker],
    variables: dict[str, str],
    line: str,
    store: tuple[str, str, str],
) -> None:
    """Both the worker's log and its reply to ``stats`` name the chosen store."""
    worker = start_worker(redis.url, environ=variables)
    worker.wait_for(line)
    with celery_app.connection_for_write() as connection:
        (stats,) = celery_app.control.inspect([worker.name], limit=1, connection=connection).stats().values()
    found = stats["celery_health"]["store"]
    assert (found["kind"], found["place"].replace(str(redis.port), "PORT"), found["keys"]) == store
