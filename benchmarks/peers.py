"""Other tools: Flower, celery-exporter and django-health-check, started from separate environments.

``make bench`` installs them below ``.bench``. A missing peer is left out, with a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

from tests.support.processes import ROOT, Process, celery_environ, wait_until
from tests.support.servers import free_port

HOME = ROOT / ".bench"


def fetch(url: str) -> str:
    """Return the body of a page of a local server."""
    with urlopen(url, timeout=60) as answer:  # noqa: S310  # only http URLs
        return str(answer.read().decode())


class Server(Process):
    """A running peer. ``url`` is its root, without a trailing slash."""

    def __init__(self, command: list[str], port: int, ready: str, log: Path, environ: Mapping[str, str]) -> None:
        super().__init__(command, log, environ)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: not self.alive or self._answers(ready), f"{command[0]} answers {ready}", 40)
            if not self.alive:
                raise AssertionError(f"{' '.join(command)} has ended:\n{self.output()}")
        except AssertionError:
            self.end()
            raise

    def get(self, page: str) -> str:
        """Return the body of one of its pages."""
        return fetch(self.url + page)

    def _answers(self, page: str) -> bool:
        with suppress(OSError):
            self.get(page)
            return True
        return False


@dataclass(frozen=True)
class Peer:
    """A tool to compare with.

    Arguments:
        name: name in the tables.
        distribution: name on the package index.
        home: environment where it is installed.
        arguments: (broker URL, port) -> command; the program is relative to ``home``.
        ready: page that returns 200 once the tool is ready.
        environ: additional environment variables.
    """

    name: str
    distribution: str
    home: Path
    arguments: Callable[[str, int], list[str]]
    ready: str
    environ: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def version(self) -> str | None:
        """The installed version, or ``None``."""
        pattern = f"lib/python*/site-packages/{self.distribution.replace('-', '_')}-*.dist-info"
        found = sorted(self.home.glob(pattern))
        return found[-1].name.removesuffix(".dist-info").rpartition("-")[2] if found else None

    def start(self, broker_url: str, folder: Path, port: int | None = None) -> Server:
        """Start the tool, and wait until it is ready.

        Arguments:
            broker_url: the broker to connect to.
            folder: folder for its log.
            port: port to bind; ``None`` for a free one.
        """
        port = port or free_port()
        program, *arguments = self.arguments(broker_url, port)
        command = [str(self.home / program), *arguments]
        environ = celery_environ(broker_url, self.environ)
        return Server(command, port, self.ready, folder / f"{self.distribution}.log", environ)


def _flower(url: str, port: int) -> list[str]:
    return ["bin/celery", "--broker", url, "flower", "--address=127.0.0.1", f"--port={port}"]


def _exporter(url: str, port: int) -> list[str]:
    # The distribution has no script. -I prevents imports from the current folder.
    command = ["bin/python", "-I", "-u", "-c", "from src.cli import cli; cli()"]
    return [*command, "--broker-url", url, "--host", "127.0.0.1", "--port", str(port)]


def _site(url: str, port: int) -> list[str]:
    return ["bin/gunicorn", "-b", f"127.0.0.1:{port}", "-w", "1", "benchmarks.health_check_site:application"]


FLOWER = Peer("Flower", "flower", HOME, _flower, "/healthcheck", {"FLOWER_UNAUTHENTICATED_API": "true"})
EXPORTER = Peer("celery-exporter", "prometheus-exporter-celery", HOME / "exporter", _exporter, "/health")
DJANGO_HEALTH_CHECK = Peer("django-health-check", "django-health-check", HOME, _site, "/empty/")

PEERS = (FLOWER, EXPORTER, DJANGO_HEALTH_CHECK)


def installed(peers: Iterable[Peer] = PEERS) -> list[Peer]:
    """Return the peers that are installed."""
    return [peer for peer in peers if peer.version is not None]


def missing(peers: Iterable[Peer] = PEERS) -> list[str]:
    """Return a note for each peer that is not installed."""
    return [f"{peer.name} is not installed here and left out (make bench)." for peer in peers if peer.version is None]
