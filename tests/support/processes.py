"""Worker and web processes of the tests, and waiting on conditions."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event

ROOT = Path(__file__).parents[2]


def wait_until(condition: Callable[[], object], what: str, seconds: float = 15) -> None:
    """Poll until the condition holds.

    Arguments:
        what: the expected state, for the message.
        seconds: deadline.

    Raises:
        AssertionError: the condition does not hold by the deadline.
    """
    deadline = time.monotonic() + seconds
    pause = Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        pause.wait(0.02)


class Process:
    """A child process in its own session, with its output in a file.

    Attributes:
        last_signal: the signal that ends it after the test.
    """

    last_signal = signal.SIGKILL

    def __init__(self, command: list[str], log: Path, environ: Mapping[str, str] | None = None) -> None:
        self._log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environ or os.environ),
                cwd=ROOT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Return whether it is running."""
        return self._popen.poll() is None

    def output(self) -> str:
        """Return everything that it has written so far."""
        return self._log.read_text(errors="replace")

    def wait_for(self, pattern: str, seconds: float = 30) -> re.Match[str]:
        """Wait for a pattern in its output, and return the first match."""
        found: list[re.Match[str] | None] = []

        def matches() -> bool:
            found.append(re.search(pattern, self.output()))
            if found[-1] is None and not self.alive:
                raise AssertionError(f"the process ended before {pattern!r}:\n{self.output()}")
            return found[-1] is not None

        wait_until(matches, f"{pattern!r} in the output", seconds)
        assert found[-1] is not None
        return found[-1]

    def warnings(self) -> list[str]:
        """Return Python's warnings about this package; most are shown only with ``PYTHONDEVMODE=1``."""
        return re.findall(r".*/celery_health_bp/\S+:\d+: \w*Warning: .*", self.output())

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        self._popen.send_signal(number)

    def wait(self, seconds: float = 20) -> int:
        """Wait for its end, and return its exit code."""
        return self._popen.wait(seconds)

    def end(self, number: int = signal.SIGTERM, seconds: float = 20) -> int:
        """End it and the rest of its session, and return its exit code."""
        if self.alive:
            self._popen.send_signal(signal.SIGCONT)
            self._popen.send_signal(number)
            try:
                self._popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        return self._popen.returncode


class Worker(Process):
    """A real ``celery worker`` of ``tests.support.apps.jobs`` or another app, ready for jobs."""

    def __init__(
        self,
        broker_url: str,
        folder: Path,
        *options: str,
        name: str = "worker1",
        app: str = "tests.support.apps.jobs:app",
        pool: str = "prefork",
        concurrency: int = 2,
        environ: Mapping[str, str] | None = None,
        ready: bool = True,
    ) -> None:
        self.name = f"{name}@testhost"
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "--loglevel=info", "--without-mingle"]
        command += ["--without-gossip", "-P", pool, "-c", str(concurrency), "-n", self.name, *options]
        own = celery_environ(broker_url, environ)
        if pool == "gevent":  # coverage confuses the call stacks of greenlets; configured for them, it may hang (7.17)
            own.pop("COVERAGE_PROCESS_CONFIG", None)
        super().__init__(command, folder / f"{name}.log", own)
        if ready:
            self.wait_for(r"@testhost ready\.")


class Web(Process):
    """A real gunicorn with ``tests.support.web`` on a free port."""

    last_signal = signal.SIGTERM  # a killed web process leaves its reply queue

    def __init__(
        self,
        broker_url: str,
        folder: Path,
        *options: str,
        processes: int = 1,
        environ: Mapping[str, str] | None = None,
        application: str = "tests.support.web:create_app()",
    ) -> None:
        command = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", "-w", str(processes), "--threads", "4"]
        command += [*options, application]
        super().__init__(command, folder / "web.log", celery_environ(broker_url, environ))
        self.url = self.wait_for(r"Listening at: (http://[^ ]+)").group(1)


def celery_environ(broker_url: str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a process of ``tests.support.apps.jobs`` on this broker."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("CELERY_")}
    return {**own, "CELERY_BROKER_URL": broker_url, "PYTHONUNBUFFERED": "1", **(environ or {})}
