"""All configuration, read once into one frozen object.

A value given to the constructor wins over one in a mapping, that one over the
environment variable ``CELERY_HEALTH_<FIELD>``, and that one over the default.
No other file of the package reads configuration.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .allowed import CHECKS, SECRET, CustomerResolver
from .errors import ConfigurationError

logger: logging.Logger = logging.getLogger(__name__)

PREFIX = "CELERY_HEALTH_"

#: Upper bounds in seconds; they reach from a cache hit to an hour's report.
DURATION_BUCKETS_SECONDS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
    300.0, 600.0, 1800.0, 3600.0,
)  # fmt: skip

#: What Kubernetes sets for services named celery-health and celery-health-ANYTHING: no settings of ours.
_OF_KUBERNETES = re.compile(r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
_warned_of: set[str] = set()


class _Unchecked(NamedTuple):
    """A value with the name that its source has for it."""

    key: str
    value: Any


def _setting(name: str, default: Any) -> Any:
    """A dataclass field whose default is the environment's value, if there is one."""

    def from_environment() -> Any:
        key = PREFIX + name.upper()
        return _Unchecked(key, os.environ[key]) if key in os.environ else default

    return field(default_factory=from_environment, repr=name not in SECRET)


def _shown(name: str, value: Any) -> str:
    if name in SECRET:
        return "(not shown)"
    try:
        return repr(value)[:80]
    except Exception:  # a user's object; an int of 5,000 digits
        return f"({type(value).__name__})"


def _unknown(key: str) -> str:
    """A sentence on a key that is no setting, with the setting that was probably meant."""
    prefix = PREFIX if key.startswith(PREFIX) else ""
    near = difflib.get_close_matches(key.removeprefix(prefix).lower(), CHECKS, n=1)
    meant = f" (did you mean {prefix}{near[0].upper() if prefix else near[0]}?)" if near else ""
    return f"{key} is no setting{meant}"


def _warn_of_unknown_variables() -> None:
    """Warn once of each environment variable that looks like a setting and is none."""
    for key in sorted(os.environ):
        name = key.removeprefix(PREFIX)
        if key in _warned_of or name == key or name.lower() in CHECKS or _OF_KUBERNETES.fullmatch(name):
            continue
        _warned_of.add(key)
        logger.warning("environment variable %s", _unknown(key))


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
        celery_app_argument: what stands after ``celery -A`` in recommendations;
            ``None``: the app's name, and that of the command's own ``-A``.

    Raises:
        ConfigurationError: values are wrong; names each key and what is allowed.
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
    celery_app_argument: str | None = _setting("celery_app_argument", None)

    def __post_init__(self) -> None:
        _warn_of_unknown_variables()
        problems, cause = [], None
        for name, check in CHECKS.items():
            given = getattr(self, name)
            key, value = given if isinstance(given, _Unchecked) else (name, given)
            try:
                object.__setattr__(self, name, check(value))
            except ValueError as exc:
                problems.append(f"{key}={_shown(name, value)} is not allowed: give {exc}")
                cause = cause or exc
        if problems:
            raise ConfigurationError("; ".join(problems)) from cause

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
            ConfigurationError: keys are unknown or values are wrong; names them all.
        """
        if not isinstance(mapping, Mapping):
            raise ConfigurationError(_no_mapping("settings", mapping))
        found: dict[str, Any] = {}
        problems = []
        for key, value in mapping.items():
            name = str(key).removeprefix(PREFIX).lower() if str(key).startswith(PREFIX) else key
            if name in CHECKS:
                found[name] = _Unchecked(key, value)
            elif not isinstance(key, str) or key.startswith(PREFIX) or not key.isupper():
                problems.append(_unknown(str(key)))
        if problems:
            problems.append(f"allowed are {', '.join(CHECKS)}")
        try:
            settings = cls(**{**found, **overrides})
        except ConfigurationError as exc:
            problems.insert(0, str(exc))
        if problems:
            raise ConfigurationError("; ".join(problems))
        return settings

    @classmethod
    def from_celery(cls, app: Any) -> Settings:
        """Settings of a Celery app: its configuration key ``celery_health``, or Django's ``CELERY_HEALTH``.

        A worker reads its settings this way, so that ``app.conf.celery_health = {...}``
        reaches workers and web processes alike.

        Raises:
            ConfigurationError: keys are unknown or values are wrong; names them all.
        """
        for source in ("celery_health", "CELERY_HEALTH"):
            mapping = app.conf.get(source)
            if mapping is not None:
                return cls.from_mapping(own_part(source, mapping))
        return cls()


def _no_mapping(source: str, value: Any) -> str:
    return f"{source} must be a mapping of settings such as {{'min_workers': 2}}, not {type(value).__name__}"


def own_part(source: str, mapping: Any) -> dict[str, Any]:
    """The settings in a source that may also hold ``app``, which the Django part reads."""
    if not isinstance(mapping, Mapping):
        raise ConfigurationError(_no_mapping(source, mapping))
    return {key: value for key, value in mapping.items() if key != "app"}
