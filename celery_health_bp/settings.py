"""All configuration, read once into one frozen object.

A value given to the constructor wins over one in a mapping, that one over the
environment variable ``CELERY_HEALTH_<FIELD>``, and that one over the default.
No other file of the package reads configuration.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from .errors import ConfigurationError

PREFIX = "CELERY_HEALTH_"

#: Upper bounds in seconds; they reach from a cache hit to an hour's report.
DURATION_BUCKETS_SECONDS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
    300.0, 600.0, 1800.0, 3600.0,
)  # fmt: skip

#: Called with the task, its positional and its keyword arguments; returns the customer.
CustomerResolver = Callable[[Any, Any, Any], Any]


def _number(minimum: float, *, above: bool = False) -> Callable[[Any], float]:
    allowed = f"a number {'above' if above else 'of at least'} {minimum:g}"

    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(allowed)
        try:
            number = float(value)
        except ValueError:
            raise ValueError(allowed) from None
        if not math.isfinite(number) or number < minimum or (above and number == minimum):
            raise ValueError(allowed)
        return number

    return parse


def _whole(minimum: int) -> Callable[[Any], int]:
    allowed = f"a whole number of at least {minimum}"

    def parse(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*\d+\s*", value, re.ASCII):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise ValueError(allowed)
        return value

    return parse


def _text(pattern: str, allowed: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(allowed)
        return value

    return parse


def _or_none(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Let ``None`` pass, and the empty string of an environment variable mean it."""
    return lambda value: None if value is None or value == "" else parse(value)


def _items(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [item.strip() for item in value.split(",")]
    return list(value) if isinstance(value, Iterable) else []


def _queues(value: Any) -> tuple[str, ...]:
    names = _items(value)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError("a list of queue names, or the same separated by commas")
    return tuple(names)


def _buckets(value: Any) -> tuple[float, ...]:
    allowed = "rising numbers above 0 (seconds)"
    bounds = tuple(_number(0, above=True)(item) for item in _items(value))
    if not bounds or any(a >= b for a, b in pairwise(bounds)):
        raise ValueError(allowed)
    return bounds


def _store(value: Any) -> str:
    if value in ("auto", "control"):
        return str(value)
    return _text(
        r"(redis|rediss|valkey|valkeys|unix|redis\+socket)://.+",
        "'auto', 'control' or a Redis URL (redis://, rediss://, valkey://, valkeys:// or unix://)",
    )(value)


def _resolver(value: Any) -> CustomerResolver:
    allowed = "a callable (task, args, kwargs) or the dotted path of one"
    if isinstance(value, str):
        from kombu.utils.imports import symbol_by_name

        try:
            value = symbol_by_name(value)
        except Exception as exc:  # importing runs the user's module: it may raise anything
            raise ValueError(f"{allowed}; importing it raised {type(exc).__name__}") from exc
    if not callable(value):
        raise ValueError(allowed)
    return value  # type: ignore[no-any-return]  # callable() is all that can be known


#: Field -> check; a check returns the clean value or raises ValueError(what is allowed).
CHECKS: dict[str, Callable[[Any], Any]] = {
    "namespace": _text(r"([a-zA-Z_][a-zA-Z0-9_]*)?", "letters, digits and underscores, or empty"),
    "queues": _or_none(_queues),
    "queue_length_threshold": _whole(0),
    "min_workers": _whole(0),
    "timeout_seconds": _number(0, above=True),
    "cache_seconds": _number(0),
    "metrics_store": _store,
    "metrics_key_prefix": _text(r"[^{}\s\x00]+", "a key prefix without braces and white space"),
    "flush_interval_seconds": _number(0, above=True),
    "customer_argument": _or_none(_text(r"[^\W\d]\w*", "the name of a task argument, or None")),
    "customer_resolver": _or_none(_resolver),
    "max_customers": _whole(0),
    "duration_buckets_seconds": _buckets,
    "access_token": lambda value: (
        None if value is None else _text(r"[\x21-\x7e]+", "visible ASCII characters, not empty")(value)
    ),
}

#: Their values may be secrets: an error names the key alone.
SECRET = {"access_token", "metrics_store"}


def _checked(name: str, value: Any, key: str) -> Any:
    try:
        return CHECKS[name](value)
    except ValueError as exc:
        shown = "(not shown)" if name in SECRET else repr(value)[:80]
        raise ConfigurationError(f"{key}={shown} is not allowed: give {exc}") from exc


def _setting(name: str, default: Any) -> Any:
    """A dataclass field whose default is the environment's value, if there is one."""

    def from_environment() -> Any:
        key = PREFIX + name.upper()
        return _checked(name, os.environ[key], key) if key in os.environ else default

    return field(default_factory=from_environment, repr=name not in SECRET)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How health is judged and how jobs are counted.

    What is not given has the value of the environment variable
    ``CELERY_HEALTH_<FIELD>``, or its default.

    Attributes:
        namespace: prefix of the job metrics; ``""`` for none.
        queues: queue names to watch; ``None``: those the app declares and those
            the workers consume.
        queue_length_threshold: a queue longer than this makes ``degraded``.
        min_workers: fewer answering workers make ``unhealthy``.
        timeout_seconds: hard deadline of a whole check.
        cache_seconds: how long one check answers every caller; 0 turns it off.
        metrics_store: ``"auto"``, ``"control"``, or a Redis URL.
        metrics_key_prefix: first part of every key in Redis; fleets that share
            one Redis database need different ones.
        flush_interval_seconds: how often a worker sends its counts.
        customer_argument: name of the task argument that holds the customer;
            ``None`` turns the label's value off.
        customer_resolver: callable ``(task, args, kwargs)``, or its dotted path,
            for tasks that pass the customer differently.
        max_customers: values of ``customer_id`` per task in the whole fleet;
            every further one counts as ``other``.
        duration_buckets_seconds: upper bounds of the histograms.
        access_token: bearer token that guards everything but the bare status.

    Raises:
        ConfigurationError: a value is wrong; names the key and what is allowed.
    """

    namespace: str = _setting("namespace", "upstream")
    queues: tuple[str, ...] | None = _setting("queues", None)
    queue_length_threshold: int = _setting("queue_length_threshold", 1000)
    min_workers: int = _setting("min_workers", 1)
    timeout_seconds: float = _setting("timeout_seconds", 2.0)
    cache_seconds: float = _setting("cache_seconds", 2.0)
    metrics_store: str = _setting("metrics_store", "auto")
    metrics_key_prefix: str = _setting("metrics_key_prefix", "celery_health")
    flush_interval_seconds: float = _setting("flush_interval_seconds", 1.0)
    customer_argument: str | None = _setting("customer_argument", "customer_id")
    customer_resolver: CustomerResolver | None = _setting("customer_resolver", None)  # noqa: RUF009  (made by field())
    max_customers: int = _setting("max_customers", 1000)
    duration_buckets_seconds: tuple[float, ...] = _setting("duration_buckets_seconds", DURATION_BUCKETS_SECONDS)
    access_token: str | None = _setting("access_token", None)

    def __post_init__(self) -> None:
        for name in CHECKS:
            object.__setattr__(self, name, _checked(name, getattr(self, name), name))

    @classmethod
    def from_env(cls) -> Settings:
        """Settings of the environment; what it does not set has its default."""
        return cls()

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], **overrides: Any) -> Settings:
        """Settings of a mapping, such as ``app.config`` of Flask or a plain dict.

        Arguments:
            mapping: keys are field names, or ``CELERY_HEALTH_<FIELD>``. Other
                keys in capitals are some other package's and are left alone.
            overrides: fields that win over the mapping.

        Raises:
            ConfigurationError: a key is unknown or a value is wrong.
        """
        found: dict[str, Any] = {}
        for key, value in mapping.items():
            name = key.removeprefix(PREFIX).lower() if key.startswith(PREFIX) else key
            if name in CHECKS:
                found[name] = _checked(name, value, key)
            elif key.startswith(PREFIX) or not key.isupper():
                raise ConfigurationError(f"{key} is no setting: allowed are {', '.join(CHECKS)}")
        return cls(**{**found, **overrides})

    @classmethod
    def from_celery(cls, app: Any) -> Settings:
        """Settings of a Celery app: its configuration key ``celery_health``, or Django's ``CELERY_HEALTH``.

        A worker reads its settings this way, so that ``app.conf.celery_health = {...}``
        reaches workers and web processes alike.

        Raises:
            ConfigurationError: a key is unknown or a value is wrong.
        """
        mapping = app.conf.get("celery_health") or app.conf.get("CELERY_HEALTH") or {}
        return cls.from_mapping({key: value for key, value in mapping.items() if key != "app"})
