"""Checks the value of each setting, and converts values of environment variables to their types."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

#: Called with the task, its positional and its keyword arguments. Returns the customer.
CustomerResolver = Callable[[Any, Any, Any], Any]

#: A day; must be below ``threading.TIMEOUT_MAX``.
MAX_SECONDS = 86_400
#: Larger than any real queue length, fleet or bucket bound.
MAX_COUNT = 1_000_000_000


def _number(minimum: float, maximum: float, *, above: bool = False) -> Callable[[Any], float]:
    allowed = f"a number {'above' if above else 'of at least'} {minimum:g} and at most {maximum:.15g}"

    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(allowed)
        try:
            number = float(value)
        except (ValueError, OverflowError):
            raise ValueError(allowed) from None
        if not minimum <= number <= maximum or (above and number == minimum):  # NaN fails the first comparison
            raise ValueError(allowed)
        return number

    return parse


def _whole(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,20}\s*", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise ValueError(f"a whole number of at least 0 and at most {MAX_COUNT}")
    return value


def _text(pattern: str, allowed: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(allowed)
        return value

    return parse


def _or_none(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Accept ``None`` too, and the empty string of an environment variable for it."""
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
    allowed = f"rising numbers above 0 and at most {MAX_COUNT} (seconds)"
    try:
        bounds = tuple(_number(0, MAX_COUNT, above=True)(item) for item in _items(value))
    except ValueError:
        raise ValueError(allowed) from None
    if not bounds or any(a >= b for a, b in pairwise(bounds)):
        raise ValueError(allowed)
    return bounds


def _store(value: Any) -> str:
    if value in ("auto", "control"):
        return str(value)
    if isinstance(value, list | tuple) and all(isinstance(url, str) for url in value):
        value = ";".join(value)
    check = _text(
        r"(redis|rediss|valkey|valkeys|unix|redis\+socket|sentinel|rediss?\+cluster)://.+",
        "'auto', 'control' or a Redis URL "
        "(redis://, rediss://, valkey://, valkeys://, unix://, sentinel:// or redis+cluster://), "
        "or several of them with ; between",
    )
    for url in re.split(r";(?=[\w+.-]+://)", value) if isinstance(value, str) else [value]:
        check(url)
    return str(value)


def _resolver(value: Any) -> CustomerResolver:
    allowed = "a callable (task, args, kwargs) or the dotted path of one"
    if isinstance(value, str):
        from kombu.utils.imports import symbol_by_name

        try:
            value = symbol_by_name(value)
        except Exception as exc:  # importing runs the user's module, which may raise anything
            raise ValueError(f"{allowed}; importing it raised {type(exc).__name__}") from exc
    if not callable(value):
        raise ValueError(allowed)
    return value  # type: ignore[no-any-return]  # nothing more can be checked


#: Field -> check. A check returns the converted value, or raises a ValueError that describes the allowed values.
CHECKS: dict[str, Callable[[Any], Any]] = {
    "namespace": _text(r"([a-zA-Z_][a-zA-Z0-9_]*)?", "letters, digits and underscores, or empty"),
    "queues": _or_none(_queues),
    "queue_length_threshold": _whole,
    "min_workers": _whole,
    "timeout_seconds": _number(0, MAX_SECONDS, above=True),
    "cache_seconds": _number(0, MAX_SECONDS),
    "metrics_store": _store,
    "metrics_key_prefix": _text(r"[^{}\s\x00]+", "a key prefix without braces and white space"),
    "flush_interval_seconds": _number(0, MAX_SECONDS, above=True),
    "customer_argument": _or_none(_text(r"[^\W\d]\w*", "the name of a task argument, or None")),
    "customer_resolver": _or_none(_resolver),
    "max_customers": _whole,
    "duration_buckets_seconds": _buckets,
    "access_token": lambda value: (
        None if value is None else _text(r"[\x21-\x7e]+", "visible ASCII characters, not empty")(value)
    ),
    "celery_app_argument": _or_none(
        _text(r"[^\s\x00-\x1f\x7f-][^\x00-\x1f\x7f]*", "what stands after celery -A, such as proj.celery:app")
    ),
}

#: Settings that may contain secrets. Error messages do not show their values.
SECRET = {"access_token", "metrics_store"}
