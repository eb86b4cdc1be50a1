"""Run code in a forked child of the test's own process."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

#: A child that hangs is ended by SIGALRM after this long.
MAX_SECONDS = 30


def in_child(work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns in a forked child.

    Arguments:
        work: called in the child; returns what JSON can hold.

    Raises:
        AssertionError: the child raised an exception or hung.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(MAX_SECONDS)
        try:
            with open(writing, "w") as pipe:
                pipe.write(json.dumps(work()))
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading) as pipe:
        found = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, f"the child ended with {status}"
    return json.loads(found)
