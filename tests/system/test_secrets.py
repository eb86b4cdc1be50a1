"""Passwords do not leak into answers or logs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.processes import Web, Worker
from tests.support.servers import RedisServer

PASSWORD = "hunter2"


def test_the_broker_password_is_in_no_body_and_no_log(
    tmp_path_factory: pytest.TempPathFactory,
    start_worker: Callable[..., Worker],
    start_web: Callable[..., Web],
) -> None:
    """No answer and no log line shows the broker's password, with the broker up or down."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    server = RedisServer(tmp_path_factory.mktemp("redis"), "--requirepass", PASSWORD)
    url = server.url.replace("127.0.0.1", f":{PASSWORD}@127.0.0.1")
    worker = start_worker(url)
    web = start_web(url)
    texts = []

    def read_all() -> None:
        for path in ("/api/celery/health/?verbose=1", "/api/celery/tasks/", "/api/celery/stats/", "/metrics"):
            try:
                with urlopen(web.url + path, timeout=10) as answer:
                    texts.append(answer.read().decode())
            except HTTPError as refused:
                with refused:
                    texts.append(refused.read().decode())

    read_all()
    assert '"status": "healthy"' in texts[0]
    server.stop()
    read_all()
    worker.wait_for("job totals|Connection refused")
    assert not [text for text in [*texts, worker.output(), web.output()] if PASSWORD in text]
