"""A real Prometheus on a free port with a temporary folder, and promtool."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.support.processes import Process, wait_until
from tests.support.servers import free_port


def require_prometheus() -> None:
    """Skip the test if Prometheus is not installed; in CI, fail."""
    if shutil.which("prometheus") and shutil.which("promtool"):
        return
    if os.environ.get("CI"):
        pytest.fail("prometheus is not installed")
    pytest.skip("prometheus is not installed")


def promtool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool in a folder."""
    require_prometheus()
    return subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


class Prometheus(Process):
    """A server with the ``prometheus.yml`` of a folder, ready for queries."""

    def __init__(self, folder: Path) -> None:
        require_prometheus()
        self.url = f"http://127.0.0.1:{free_port()}"
        command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        super().__init__([*command, f"--web.listen-address={self.url.removeprefix('http://')}"], folder / "server.log")
        wait_until(self._ready, "prometheus is ready", 30)

    def api(self, path: str, **parameters: str) -> Any:
        """Return the data of an API call."""
        with urlopen(f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=15) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query; the error of a refused expression shows it."""
        try:
            return list(self.api("query", query=expression)["result"])
        except HTTPError as refused:
            raise AssertionError(f"{expression}: {refused.read().decode()}") from refused

    def value(self, expression: str) -> float:
        """Return the sum of the series of an instant query."""
        return sum(float(series["value"][1]) for series in self.query(expression))

    def alerts(self) -> dict[str, str]:
        """Return alert -> ``pending`` or ``firing``, the worse one of several series."""
        found = sorted((alert["labels"]["alertname"], alert["state"]) for alert in self.api("alerts")["alerts"])
        return dict(sorted(found, key=lambda pair: pair[1] == "firing"))

    def _ready(self) -> bool:
        if not self.alive:
            raise AssertionError(self.output())
        try:
            with urlopen(f"{self.url}/-/ready", timeout=5):
                return True
        except OSError:
            return False
