"""Reads all configuration, once, into one frozen object.

Precedence: arguments of the constructor, a mapping, the environment variable
``CELERY_HEALTH_<FIELD>``, the default. No other module reads configuration.
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

#: Upper bounds in seconds, from a cache hit to a report that takes an hour.
DURATION_BUCKETS_SECONDS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
    300.0, 600.0, 1800.0, 3600.0,
)  # fmt: skip

#: Variables that Kubernetes sets for services named celery-health and celery-health-ANYTHING.
_KUBERNETES = re.compile(r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
_warned_of: set[str] = set()


class _Unchecked(NamedTuple):
    """A value with its key in the source."""

    key: str
    value: Any


def _setting(name: str, default: Any) -> Any:
    """Return a dataclass field that defaults to the environment variable, if set, else to ``default``."""

    def from_environment() -> Any:
        key = PREFIX + name.upper()
        return _Unchecked(key, os.environ[key]) if key in os.environ else default

    return field(default_factory=from_environment, repr=name not in SECRET)


def _shown(name: str, value: Any) -> str:
    if name in SECRET:
        return "(not shown)"
    try:
        return repr(value)[:80]
    except Exception:  # from a user's __repr__, or for an integer beyond sys.get_int_max_str_digits()
        return f"({type(value).__name__})"


def _unknown(key: str) -> str:
    """Return a sentence on a key that is not a setting, with the most similar setting."""
    prefix = PREFIX if key.startswith(PREFIX) else ""
    near = difflib.get_close_matches(key.removeprefix(prefix).lower(), CHECKS, n=1)
    meant = f" (did you mean {prefix}{near[0].upper() if prefix else near[0]}?)" if near else ""
    return f"{key} is no setting{meant}"


def _warn_of_unknown_variables() -> None:
    """Warn once of each environment variable with our prefix that is not a setting."""
    for key in sorted(os.environ):
        name = key.removeprefix(PREFIX)
        if key in _warned_of or name == key or name.lower() in CHECKS or _KUBERNETES.fullmatch(name):
            continue
        _warned_of.add(key)
        logger.warning("environment variable %s", _unknown(key))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of health checks and of job counting.

    An omitted field takes the value of the environment variable
    ``CELERY_HEALTH_<FIELD>``, or its default.

    Attributes:
        namespace: prefix of the job metrics; ``""`` for none.
        queues: names of the queues to watch; ``None``: those that the app
            declares and those that the workers consume.
        queue_length_threshold: a longer queue makes the status ``degraded``.
        min_workers: with fewer replying workers the status is ``unhealthy``.
        timeout_seconds: hard deadline of a whole check.
        cache_seconds: how long the result of a check is reused; 0 disables the cache.
        metrics_store: ``"auto"``, ``"control"``, or a Redis URL.
        metrics_key_prefix: first part of every key in Redis. Fleets that share
            a Redis database need different prefixes.
        flush_interval_seconds: how often a worker sends its counts.
        customer_argument: name of the task argument that holds the customer;
            ``None`` leaves the label empty.
        customer_resolver: callable ``(task, args, kwargs)`` that returns the
            customer, or its dotted path, for tasks that pass it differently.
        max_customers: most values of ``customer_id`` per task in the whole
            fleet; further ones count as ``other``.
        duration_buckets_seconds: upper bounds of the histograms, ascending.
        access_token: bearer token required for everything but the plain status.
        celery_app_argument: argument of ``celery -A`` in recommendations;
            ``None``: the name of the app, or the ``-A`` of the command itself.

    Raises:
        ConfigurationError: values are wrong. The message names each key and the allowed values.
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
        """Return the settings of the environment, with defaults for variables that are not set."""
        return cls()

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], **overrides: Any) -> Settings:
        """Return the settings of a mapping, such as Flask's ``app.config`` or a dict.

        Arguments:
            mapping: keys are field names, or ``CELERY_HEALTH_<FIELD>``. Other
                upper-case keys belong to other packages and are ignored.
            overrides: fields that take precedence over the mapping.

        Raises:
            ConfigurationError: keys are unknown or values are wrong. The message names all of them.
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
        """Return the settings of a Celery app: its configuration key ``celery_health``, or Django's ``CELERY_HEALTH``.

        Workers read their settings from the app, so ``app.conf.celery_health = {...}``
        configures workers and web processes.

        Arguments:
            app: the Celery app. Without such a key, the environment and the defaults are used.

        Raises:
            ConfigurationError: keys are unknown or values are wrong. The message names all of them.
        """
        for source in ("celery_health", "CELERY_HEALTH"):
            mapping = app.conf.get(source)
            if mapping is not None:
                return cls.from_mapping(without_app(source, mapping))
        return cls()


def _no_mapping(source: str, value: Any) -> str:
    return f"{source} must be a mapping of settings such as {{'min_workers': 2}}, not {type(value).__name__}"


def without_app(source: str, mapping: Any) -> dict[str, Any]:
    """Return a mapping of settings without the key ``app``, which only the Django part reads.

    Arguments:
        source: name of the mapping, for the message.
        mapping: the settings.

    Raises:
        ConfigurationError: ``mapping`` is not a mapping.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigurationError(_no_mapping(source, mapping))
    return {key: value for key, value in mapping.items() if key != "app"}
