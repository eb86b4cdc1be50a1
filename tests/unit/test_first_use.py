"""The lock around the first use of a Celery app, and forks meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from celery_health_bp import first_use
from celery_health_bp.errors import DeadlineExceeded
from celery_health_bp.first_use import FirstUse
from tests.support.children import in_child


@contextmanager
def held_by_a_thread(use: FirstUse) -> Iterator[None]:
    """Let another thread hold the lock during the block."""
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with use.alone(10):
            holding.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(10)
    try:
        yield
    finally:
        release.set()
        thread.join(10)


def test_a_second_thread_waits_no_longer_than_its_timeout() -> None:
    """While another thread holds the lock, ``alone`` raises at the deadline; afterwards it enters."""
    use = FirstUse()
    with held_by_a_thread(use):
        assert use.busy
        with pytest.raises(DeadlineExceeded, match="was not ready in time"), use.alone(0.01):
            pass
    with use.alone(0.01):
        assert use.busy
    assert not use.busy


def test_the_holder_cannot_enter_again() -> None:
    """A factory that checks its own health, or a signal handler, gets an error at once instead of a half-made app."""
    use = FirstUse()
    with use.alone(10):
        with pytest.raises(DeadlineExceeded, match="is not ready yet"), use.alone(10):
            pass
        assert use.busy


def test_an_exception_releases_the_lock() -> None:
    """After a factory that raised, the next caller may try again."""
    use = FirstUse()
    with pytest.raises(KeyError), use.alone(10):
        raise KeyError
    assert not use.busy
    with held_by_a_thread(use):
        pass


def test_a_child_that_was_forked_during_a_first_use_has_a_free_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork waits for a while only, and the thread that holds the lock does not exist in the child."""
    monkeypatch.setattr(first_use, "FORK_PATIENCE_SECONDS", 0.01)
    use = FirstUse()

    def enter() -> bool:
        with use.alone(1):
            return use.busy

    with held_by_a_thread(use):
        assert in_child(enter) is True
        assert use.busy


class Watched(FirstUse):
    """Sets ``forking`` when a fork begins to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.forking = threading.Event()

    def acquire_for_fork(self, timeout_seconds: float) -> bool:
        """Set ``forking``, and wait."""
        self.forking.set()
        return super().acquire_for_fork(timeout_seconds)


def test_a_fork_waits_for_the_end_of_a_first_use() -> None:
    """A child sees the result of the first use if that ends within the patience of the fork."""
    use, started, made = Watched(), threading.Event(), list[str]()

    def make() -> None:
        with use.alone(10):
            started.set()
            use.forking.wait(10)
            made.append("app")

    thread = threading.Thread(target=make)
    thread.start()
    assert started.wait(10)
    assert in_child(lambda: made) == ["app"]
    thread.join(10)
