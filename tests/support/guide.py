"""A reader who follows a guide of ``docs/`` in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import celery

from tests.support.pages import commands, fenced
from tests.support.processes import Process, celery_environ, wait_until
from tests.support.servers import RedisServer, free_port

BIN = Path(sys.executable).parent
CURL = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[-1]).read().decode(), end='')"
#: Commands that no test can run here; test_docs.py checks the files and extras that they name.
NOT_RUN = ("pip ", "kubectl ", "docker ")
#: Celery 5.2 and libraries of its time raise deprecation warnings of their own.
WARNINGS = "error" if celery.VERSION >= (5, 3) else "default"


class Guide:
    """Follow a page with a shell; free ports replace 6379, 8000 and 9090."""

    def __init__(self, folder: Path, redis: RedisServer, started: list[Process]) -> None:
        self._folder = folder
        self._started = started
        self._ports = {
            "localhost:6379": f"127.0.0.1:{redis.port}",
            ":8000": f":{free_port()}",
            ":9090": f":{free_port()}",
        }
        curl = folder / "curl"
        curl.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{CURL}" "$@"\n')
        curl.chmod(0o755)
        path = f"{folder}:{BIN}:{os.environ['PATH']}"
        self._environ = celery_environ(redis.url, {"PATH": path, "XDG_RUNTIME_DIR": str(folder)})
        del self._environ["CELERY_BROKER_URL"]  # it wins over the brokers that the pages name
        self._loose: list[str] = []

    def follow(self, page: str) -> None:
        """Write its files, run its commands until they print the shown output, then run its other Python."""
        for language, text in fenced(page):
            if language == "python":
                self.write(text)
            elif language == "console":
                for command, shown in commands(text):
                    self.do(command, shown)
        self._run_loose()

    def write(self, text: str) -> None:
        """Write a block that starts with the name of its file; append to ``settings.py``."""
        named = re.match(r"# (\S+\.py)\n", text)
        if named is None:
            self._loose.append(text)
            return
        path = self._folder / named[1]
        if path.parent == self._folder:
            self._loose.append(f"from {path.stem} import *\n")
        before = path.read_text() if path.name == "settings.py" else ""
        path.write_text(before + self._here(text))

    def do(self, command: str, shown: str = "") -> None:
        """Run a command: to its end, in the background, or until it prints the lines that are shown."""
        if command.startswith(NOT_RUN):
            return
        if command.endswith("&"):
            log = self._folder / f"background{len(self._started)}.log"
            line = f"cd {self._folder} && exec {self._here(command.removesuffix('&'))}"
            self._started.append(Process(["sh", "-c", line], log, self._environ))
        elif shown:
            wanted = set(shown.splitlines())
            wait_until(lambda: wanted <= set(self.run(command).stdout.splitlines()), f"{command} prints\n{shown}", 60)
        else:
            done = self.run(command)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; the processes in the background must go on."""
        for process in self._started:
            assert process.alive, process.output()
        return subprocess.run(
            ["sh", "-c", self._here(command)],
            cwd=self._folder,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def _run_loose(self) -> None:
        (self._folder / "loose.py").write_text(self._here("\n".join(self._loose)))
        done = self.run(f"python -W {WARNINGS} loose.py")
        assert done.returncode == 0, done.stderr
        self._loose = []

    def _here(self, text: str) -> str:
        for shown, real in self._ports.items():
            text = text.replace(shown, real)
        return text
