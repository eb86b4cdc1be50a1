"""Which workers belong to another application that shares our broker.

Workers of all applications in one Redis database (or one virtual host) answer a
broadcast. One with this package tells the name of its application; it is another's
if that name differs from ours, and ours is the application itself: a client
under a name of its own, without tasks, has to count whoever answers.
"""

from __future__ import annotations

import logging
from typing import Any

from .report import NO_NAMES

logger: logging.Logger = logging.getLogger(__name__)

#: Between a node's name and its application's; in neither.
_SEPARATOR = "\0"


def own_name(app: Any) -> str | None:
    """The application's name; ``None`` if it has none, or no task of its own."""
    if app.main in NO_NAMES:
        return None
    try:
        names = list(app.tasks)
    except Exception:  # one of the tasks cannot be made: whoever sends it will hear of it
        logger.debug("the tasks of the app cannot be listed", exc_info=True)
        return None
    return None if all(name.startswith("celery.") for name in names) else str(app.main)


def known_as(node: str, application: str | None, own: str | None) -> str:
    """What a node goes by; one of another application not by its name alone: nodes of two may both be ``celery@host``.

    Arguments:
        application: the name of its application, ``None`` if it did not say.
        own: see ``own_name``.
    """
    is_ours = own is None or application in (own, *NO_NAMES)
    return node if is_ours else f"{node}{_SEPARATOR}{application}"


def is_another(node: str) -> bool:
    """It is a node of another application."""
    return _SEPARATOR in node


def plain(node: str) -> str:
    """The node's own name."""
    return node.partition(_SEPARATOR)[0]
