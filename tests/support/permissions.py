"""The users that ``docs/permissions.md`` grants rights to."""

from __future__ import annotations

from itertools import chain

from tests.support.pages import blocks
from tests.support.servers import RedisServer

PAGE = "permissions.md"
PASSWORD = "s3cret"


def granted(language: str) -> list[list[str]]:
    """Return each block of the page in this language as a list of commands."""
    return [text.replace("PASSWORD", PASSWORD).splitlines() for text in blocks(PAGE, language)]


def grant(redis: RedisServer, *command_lists: list[str]) -> str:
    """Run these commands, which create the user ``celery``, and return the URL with its credentials."""
    with redis.client() as client:
        for command in chain(*command_lists):
            client.execute_command(*command.split())
        client.connection_pool.disconnect()
    return redis.url.replace("//", f"//celery:{PASSWORD}@")
