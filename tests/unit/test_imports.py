"""What importing the package loads and does."""

from __future__ import annotations

import subprocess
import sys

import pytest

import celery_health_bp


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in memory after a statement in a new interpreter."""
    code = f"{statement}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "from celery_health_bp import MonitoredTask",
        "from celery_health_bp import monitor_task",
        "from celery_health_bp import Settings",
        "import celery_health_bp.counting.request, celery_health_bp.counting.bootstep",
    ],
)
def test_a_worker_loads_no_web_framework(statement: str) -> None:
    """What a worker needs loads neither Flask, marshmallow, Django, werkzeug nor prometheus_client."""
    # kombu itself loads a part of Django where that is installed.
    loaded = loaded_by(statement) - loaded_by("import celery.worker.request, kombu.serialization")
    assert "celery_health_bp" in loaded
    assert not loaded & {"flask", "marshmallow", "django", "werkzeug", "prometheus_client"}


def test_importing_everything_starts_nothing() -> None:
    """No thread is started and no socket opened by importing every public name."""
    code = (
        "import threading, os; from celery_health_bp import *; import celery_health_bp.counting.bootstep\n"
        "names = os.listdir('/proc/self/fd'); links = [os.readlink(f'/proc/self/fd/{n}') for n in names if n != '3']\n"
        "print(threading.active_count(), sum('socket' in link for link in links))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["1", "0"]


def test_every_public_name_is_there() -> None:
    """``__all__`` can be imported whole, and an unknown name is an AttributeError."""
    for name in celery_health_bp.__all__:
        assert getattr(celery_health_bp, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = celery_health_bp.nothing
