"""Which workers belong to another application that shares our broker.

Workers of all applications in one Redis database (or one virtual host) answer a
broadcast. One with this package tells the name of its application; it is another's
if that name differs from ours, and ours is the application itself: a client
under a name of its own, without tasks, has to count whoever answers.
"""

from __future__ import annotations

import logging
from typing import Any
from weakref import WeakSet

from celery._state import _get_active_apps

from ..verdict import DEFAULT_NAMES

logger: logging.Logger = logging.getLogger(__name__)

#: Between a node's name and its application's; in neither.
_SEPARATOR = "\0"
#: Apps of this process whose health is asked for.
_watched: WeakSet[Any] = WeakSet()


def watch(app: Any) -> None:
    """This process asks for the health of this app: it is an application by itself, not where our tasks come from."""
    _watched.add(app)


def own_names(app: Any) -> frozenset[str] | None:
    """Names of the applications whose workers are ours; ``None``: all are.

    All, if the app has no name, or neither a task of its own nor modules (``include``, ``imports``) that have tasks.
    Tasks of one app are those of all apps of a process (Celery shares them): a client that imports the application's
    tasks has them too, and the application with them.
    """
    if app.main in DEFAULT_NAMES:
        return None
    try:
        has_modules = app.conf.include or app.conf.imports  # workers import them, this process may not have yet
        if not has_modules and all(name.startswith("celery.") for name in app.tasks):
            return None
        imported = {other.main for other in tuple(_get_active_apps()) if other not in _watched}
    except Exception:  # one of the tasks cannot be made: whoever sends it will hear of it
        logger.debug("the tasks of the app cannot be listed", exc_info=True)
        return None
    return frozenset({app.main, *imported})


def known_as(node: str, application: str | None, own: frozenset[str] | None) -> str:
    """What a node goes by; one of another application not by its name alone: nodes of two may both be ``celery@host``.

    Arguments:
        application: the name of its application, ``None`` if it did not say.
        own: see ``own_names``.
    """
    is_ours = own is None or application in own or application in DEFAULT_NAMES
    return node if is_ours else f"{node}{_SEPARATOR}{application}"


def is_another(node: str) -> bool:
    """It is a node of another application."""
    return _SEPARATOR in node


def plain(node: str) -> str:
    """The node's own name."""
    return node.partition(_SEPARATOR)[0]
