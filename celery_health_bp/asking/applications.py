"""Recognises workers of another application on the same broker.

Workers of all applications in one Redis database (or one virtual host) answer a broadcast. A worker that
runs this package sends the name of its Celery app. If this process has the application itself, workers
under another name do not count. If it is a client without tasks, every worker counts.
"""

from __future__ import annotations

import logging
from typing import Any
from weakref import WeakSet

from celery._state import _get_active_apps

from ..verdict import DEFAULT_NAMES

logger: logging.Logger = logging.getLogger(__name__)

#: Between a node's name and its application's; neither can contain it.
_SEPARATOR = "\0"
#: Apps in this process that have a ``CeleryHealth``.
_watched: WeakSet[Any] = WeakSet()


def watch(app: Any) -> None:
    """Register an app that has a ``CeleryHealth``: other apps of this process do not count its workers."""
    _watched.add(app)


def own_names(app: Any) -> frozenset[str] | None:
    """Return the names of the applications whose workers count; ``None`` if all workers count.

    All workers count if the app has no name, or has neither tasks nor modules (``include``, ``imports``)
    with tasks. Celery shares tasks between all apps of a process: a client that imports the application's
    tasks has its app too, whose name is then included.
    """
    if app.main in DEFAULT_NAMES:
        return None
    try:
        has_modules = app.conf.include or app.conf.imports  # workers import them, this process may not have yet
        if not has_modules and all(name.startswith("celery.") for name in app.tasks):
            return None
        imported = {other.main for other in tuple(_get_active_apps()) if other not in _watched}
    except Exception:  # a task that cannot be created: the code that sends it gets the error
        logger.debug("the tasks of the app cannot be listed", exc_info=True)
        return None
    return frozenset({app.main, *imported})


def node_key(node: str, application: str | None, own: frozenset[str] | None) -> str:
    """Return a unique key of a node: its name, or name and application if the application is another.

    Nodes of two applications may have the same name, such as ``celery@host``.

    Arguments:
        application: the name of the node's Celery app, ``None`` if the reply has none.
        own: see ``own_names``.
    """
    is_ours = own is None or application in own or application in DEFAULT_NAMES
    return node if is_ours else f"{node}{_SEPARATOR}{application}"


def is_foreign(key: str) -> bool:
    """Return whether the node with this key belongs to another application."""
    return _SEPARATOR in key


def node_name(key: str) -> str:
    """Return the node's name from its key."""
    return key.partition(_SEPARATOR)[0]
