"""``make demo``: real processes, of which none is left."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid4

import pytest

from tests.support.processes import Process, wait_until

MARK = "DEMO_OF_CELERY_HEALTH_TEST"
READY_SECONDS = 60


class Demo(Process):
    """The demo on a free port; all processes that it starts have a mark in their environment."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self._mark = uuid4().hex
        command = [sys.executable, "-m", "examples.demo"]
        super().__init__(command, folder / "demo.log", {**os.environ, "PORT": "0", **environ, MARK: self._mark})

    def left(self) -> list[int]:
        """Return the ids of the running processes with the mark."""
        mark = f"{MARK}={self._mark}".encode()
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if mark in _content(path)]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended, or belongs to another user
        return b""


@pytest.fixture
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Start the demo."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("processes are found through /proc")
    folder = tmp_path_factory.mktemp("demo")
    demo = Demo(folder, TMPDIR=str(folder))
    yield demo
    demo.end(signal.SIGINT)


def _started(url: str) -> float:
    with urlopen(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("upstream_background_job_started_total"))


@pytest.mark.slow
def test_the_demo_serves_four_urls_and_ends_on_ctrl_c(demo: Demo) -> None:
    """Four URLs answer 200, jobs keep starting, and SIGINT ends all processes with exit code 0."""
    demo.wait_for("Ctrl-C ends everything", READY_SECONDS)
    urls = re.findall(r"http://\S+", demo.output())
    assert [_status(url) for url in urls] == [200] * 4
    before = _started(urls[-1])
    assert before > 0
    wait_until(lambda: _started(urls[-1]) > before + 2, "more jobs start", READY_SECONDS)
    assert re.search(r"^HEALTHY: 1 worker answers", demo.output(), re.MULTILINE)
    folder = demo.wait_for(r"logs are in (\S+)").group(1)

    demo.send_signal(signal.SIGINT)
    assert demo.wait(30) == 0
    assert demo.left() == []
    assert not Path(folder).exists()
    assert "Traceback" not in demo.output()


def _status(url: str) -> int:
    with urlopen(url, timeout=10) as answer:
        status: int = answer.status
    return status


@pytest.mark.slow
def test_sigterm_during_the_start_ends_all_processes(demo: Demo) -> None:
    """A signal before the demo is ready ends all processes with exit code 0."""
    demo.wait_for("Starting broker")
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(30) == 0
    assert demo.left() == []


@pytest.mark.slow
def test_the_death_of_a_process_ends_the_demo(demo: Demo) -> None:
    """When the worker is killed, the demo names it and its log, ends the others, and exits with 1."""
    pid = demo.wait_for(r"worker +pid (\d+)", READY_SECONDS).group(1)
    demo.wait_for("Ctrl-C ends everything", READY_SECONDS)
    os.kill(int(pid), signal.SIGKILL)
    assert demo.wait(30) == 1
    log = demo.wait_for(rf"worker \(pid {pid}\) ended with -9; its log: (\S+)").group(1)
    assert Path(log).exists()
    assert demo.left() == []


@pytest.mark.parametrize("port", ["taken", "http", "65536"])
def test_an_unusable_port_is_one_line(tmp_path: Path, port: str) -> None:
    """A taken or invalid port exits with 1 and one line, before any process starts."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1]) if port == "taken" else port
        demo = Demo(tmp_path, PORT=port)
        assert demo.wait(30) == 1
    (sentence,) = demo.output().strip().splitlines()
    assert port in sentence
    assert "PORT=" in sentence
