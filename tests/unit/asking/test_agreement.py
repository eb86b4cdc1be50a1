"""Workers and the web process that reads their job totals: is it the same store?"""

from __future__ import annotations

from celery_health_bp.asking.agreement import Agreement
from celery_health_bp.errors import StoreUnavailable
from celery_health_bp.report import StoreFacts, Worker
from celery_health_bp.stores import RedisStore


def test_a_large_fleet_in_another_store_is_one_short_sentence() -> None:
    """A thousand workers of one store are five names and a number."""

    class Unreachable(RedisStore):
        """A store of which only the name is known."""

        place, keys = "redis://here:6379/0", "{a}"

        def __init__(self) -> None: ...

        def identity(self, *, create: bool = False) -> str | None:
            """Fail as Redis does."""
            raise StoreUnavailable("away")

    workers = [Worker(f"w{n:03}@h", store=StoreFacts("redis", "redis://there:6379/0", "{b}")) for n in range(1000)]
    strays, sentences = Agreement(Unreachable()).compare(workers, 0)
    assert (len(strays), len(sentences)) == (1000, 1)
    assert sentences[0].startswith(
        "Job totals of w000@h, w001@h, w002@h, w003@h, w004@h and 995 more go to redis://there"
    )
