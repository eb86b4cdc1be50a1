"""Finds out which of a worker's registered tasks are counted. Runs in the worker's main process."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from kombu.utils.imports import symbol_by_name

from ..notes import MAX_NAME, MAX_NAMES, uncounted_sentence
from . import REQUEST
from .eager import is_monitored
from .request import MonitoredRequest

logger: logging.Logger = logging.getLogger(__name__)

#: Prefix of Celery's built-in tasks.
BUILT_IN = "celery."


class Registry:
    """The registered tasks of an app.

    Arguments:
        app: the worker's Celery app.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._size = -1
        self._facts: Mapping[str, Any] = {}

    def facts(self) -> Mapping[str, Any]:
        """Return the numbers of registered and of counted tasks, and up to five names of tasks that are not counted.

        Leave out Celery's built-in tasks. The result is cached until the number of tasks changes.
        """
        if len(self._app.tasks) != self._size:
            tasks = list(self._app.tasks.values())
            users = [task for task in tasks if not task.name.startswith(BUILT_IN)]
            missing = sorted(task.name for task in users if not _is_counted(task))
            self._size = len(tasks)
            self._facts = {
                "registered": len(users),
                "counted": len(users) - len(missing),
                "not_counted": [name[:MAX_NAME] for name in missing[:MAX_NAMES]],
            }
        return self._facts

    def log(self) -> None:
        """Log how many tasks are counted, and a warning on tasks that are not."""
        for task in self._app.tasks.values():
            if is_monitored(task) and not _is_counted(task):
                logger.warning("task %s is not counted: its Request must derive from %s", task.name, REQUEST)
        facts = self.facts()
        if facts["counted"] < facts["registered"]:
            logger.warning("%s", uncounted_sentence(**facts))
        else:
            logger.info("all %d tasks are counted", facts["registered"])


def _is_counted(task: Any) -> bool:
    return is_monitored(task) and issubclass(symbol_by_name(task.Request), MonitoredRequest)
