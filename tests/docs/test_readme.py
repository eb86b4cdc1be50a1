"""The README and the reference are executed: their python and console blocks run for real."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from tests.support.guide import BIN, CURL
from tests.support.pages import JOB_METRICS, METRICS, README, blocks, commands, table, text
from tests.support.processes import ROOT, Process, celery_environ, wait_until
from tests.support.servers import RedisServer, free_port


def test_the_readme_is_short() -> None:
    """The README has at most 150 lines."""
    assert len(text(README).splitlines()) <= 150


# -- python --

QUICKSTART, DJANGO = blocks(README, "python")
#: Pages whose blocks continue the quickstart.
CONTINUED = ("reference/counting.md", "reference/metrics.md", "reference/settings.md")
PYTHON = [QUICKSTART, *(block for page in CONTINUED for block in blocks(page, "python")), DJANGO]


@pytest.fixture
def project(redis: RedisServer, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Return a folder with the quickstart's ``upstream.py`` and a ``curl``, and the environment to use it."""
    (tmp_path / "upstream.py").write_text(QUICKSTART)
    curl = tmp_path / "curl"
    curl.write_text(f'#!/bin/sh\nexec {BIN / "python"} -c "{CURL}" "$@"\n')
    curl.chmod(0o755)
    path = f"{tmp_path}:{BIN}:{os.environ['PATH']}"
    return tmp_path, celery_environ(redis.url, {"PATH": path, "FLASK_RUN_PORT": str(free_port())})


def test_quickstart_has_fifteen_lines() -> None:
    """The quickstart has at most 15 lines of code."""
    assert len([line for line in QUICKSTART.splitlines() if line.strip()]) <= 15


def test_python_blocks_run_one_after_the_other(project: tuple[Path, dict[str, str]]) -> None:
    """All blocks run in one namespace, and their applications respond: quickstart, site and Django."""
    folder, environ = project
    (folder / "site_settings.py").write_text("SECRET_KEY = 'x'\nROOT_URLCONF = 'site_settings'\nurlpatterns = []\n")
    check = """
from werkzeug.test import Client
for served in (web, application):
    assert Client(served).get("/api/celery/health/live/").json == {"status": "alive"}
assert "flask_http_request_total" in Client(site).get("/metrics").text
assert health.settings.queue_length_threshold == 500
assert send_webhook.__class__.mro()[1] is MonitoredTask and process_ingestion.name
"""
    (folder / "blocks.py").write_text("\n".join([*PYTHON, check]))
    command = [str(BIN / "python"), "blocks.py"]
    environ = {**environ, "DJANGO_SETTINGS_MODULE": "site_settings", "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


# -- console --

(COMMAND,) = blocks("reference/command.md", "console")
CONSOLE = [*blocks(README, "console"), COMMAND]
(TYPED,) = (block for block in CONSOLE if "--hostname" in block)


def test_every_console_command_is_known() -> None:
    """Each make command names a target, pip installs an existing extra, and other tests run the rest."""
    makefile = (ROOT / "Makefile").read_text()
    extras = metadata("celery-health-bp").get_all("Provides-Extra") or []
    for block in CONSOLE:
        for command, _ in commands(block):
            tool, _, rest = command.partition(" ")
            if tool == "make":
                assert re.search(rf"^{rest}:", makefile, re.MULTILINE), command
            elif tool == "pip":
                assert re.fullmatch(r"install '\.\[(\w+)\]'", rest)[1] in extras  # type: ignore[index]
            else:
                assert block in (TYPED, COMMAND), command


class Shell:
    """Run commands in a folder; commands in the background run until the end of the test."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self.background: list[Process] = []

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            ["sh", "-c", self._here(command)],
            cwd=self._folder,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def prints(self, command: str, shown: str) -> bool:
        """Return whether the command prints these lines in any order, with any host name; the others must still run."""
        real = re.sub(r"worker1@\S+", "worker1@hostname", self.run(command).stdout)
        assert all(process.alive for process in self.background), self.background[0].output()
        return sorted(shown.splitlines()) == sorted(real.splitlines())

    def start(self, command: str) -> Process:
        """Start a command in the background."""
        log = self._folder / f"background{len(self.background)}.log"
        command = f"cd {self._folder} && exec {self._here(command)}"
        self.background.append(Process(["sh", "-c", command], log, self._environ))
        return self.background[-1]

    def _here(self, command: str) -> str:
        return command.replace(":5000/", f":{self._environ['FLASK_RUN_PORT']}/")


@pytest.fixture
def shell(project: tuple[Path, dict[str, str]]) -> Iterator[Shell]:
    """Return a shell in the quickstart's folder."""
    shell = Shell(*project)
    yield shell
    for process in shell.background:
        process.end()


@pytest.mark.leaves("broker", reason="processes of the shell are killed with it")
def test_quickstart_gives_the_output_that_it_shows(shell: Shell, redis: RedisServer) -> None:
    """Its commands, run in order with a real worker and server, print the output that the README shows."""
    for command, shown in commands(TYPED):
        if command.endswith("&"):
            shell.start(command.removesuffix("&"))
        elif not shown:
            assert shell.run(command).returncode == 0
        else:
            wait_until(lambda: shell.prints(command, shown), f"{command} prints\n{shown}", 30)  # noqa: B023

    for command, _ in commands(COMMAND):
        assert shell.run(command).returncode == 0, command
    _check_keys(redis)
    _check_families(shell.run("curl -s http://127.0.0.1:5000/metrics").stdout)


def _check_keys(redis: RedisServer) -> None:
    documented = {row[0].strip("`") for row in table("reference/redis-keys.md", "key")}
    with Redis.from_url(redis.url) as client:
        keys = {key.decode() for key in client.scan_iter("{*")}
    assert {re.sub(r"writer:.*", "writer:ID", key) for key in keys} <= documented
    assert "{celery_health}:totals" in keys


def _check_families(exposition: str) -> None:
    """Compare names and types of all metrics, and the labels of those that are not about jobs."""
    shown = dict(re.findall(r"^# TYPE (\S+) (\S+)", exposition, re.MULTILINE))
    assert {name: kind for name, kind, _ in METRICS} == shown
    samples = {family.name: family.samples for family in text_string_to_metric_families(exposition)}
    for name, _, labels in METRICS[len(JOB_METRICS) :]:
        assert samples[name.removesuffix("_total")][0].labels.keys() == labels, name
