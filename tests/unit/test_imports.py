"""Importing the package loads little and starts nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import celery_health_bp

#: Prints the top-level modules that the statements load, beyond those that kombu loads: a part of Django is among them.
LOADED = """
import json, sys
import celery.worker.request, kombu.serialization
before = {name.split(".")[0] for name in sys.modules}
from celery_health_bp import MonitoredTask
from celery_health_bp import monitor_task
from celery_health_bp import Settings
import celery_health_bp.counting.request, celery_health_bp.counting.bootstep
import celery.bin.celery  # `celery worker` loads the commands of all packages, `celery health` too
assert "celery_health_bp.cli.command" in sys.modules
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules} - before)))
"""

#: Prints the numbers of threads and of open sockets; descriptor 3 is the one that lists the folder.
STARTED = """
import json, os, threading
from celery_health_bp import *
import celery_health_bp.counting.bootstep
names = os.listdir("/proc/self/fd")
links = [os.readlink(f"/proc/self/fd/{name}") for name in names if name != "3"]
print(json.dumps([threading.active_count(), sum("socket" in link for link in links)]))
"""


def printed_by(code: str) -> list[object]:
    """Return the JSON that a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    found: list[object] = json.loads(done.stdout)
    return found


def test_a_worker_loads_no_web_framework() -> None:
    """A worker and ``celery`` load neither Flask, marshmallow, Django, werkzeug nor prometheus_client."""
    loaded = set(printed_by(LOADED))
    assert "celery_health_bp" in loaded
    assert not loaded & {"flask", "marshmallow", "django", "werkzeug", "prometheus_client"}


def test_importing_everything_starts_nothing() -> None:
    """Importing every public name starts no thread and opens no socket."""
    assert printed_by(STARTED) == [1, 0]


def test_every_public_name_exists() -> None:
    """Each name of ``__all__`` can be imported, and an unknown name is an AttributeError."""
    for name in celery_health_bp.__all__:
        assert getattr(celery_health_bp, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = celery_health_bp.nothing
