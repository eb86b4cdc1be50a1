"""Where settings come from, and what a wrong one says."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest
from celery import Celery

from celery_health_bp import Settings
from celery_health_bp.errors import ConfigurationError
from celery_health_bp.settings import CHECKS


def test_every_field_has_a_check() -> None:
    """No field of ``Settings`` goes unchecked."""
    assert {field.name for field in fields(Settings)} == set(CHECKS)


def test_defaults_are_those_of_the_contract() -> None:
    """Without any configuration the documented defaults hold."""
    settings = Settings()
    assert (settings.namespace, settings.queues, settings.queue_length_threshold) == ("upstream", None, 1000)
    assert (settings.timeout_seconds, settings.cache_seconds, settings.min_workers) == (2.0, 2.0, 1)
    assert settings.duration_buckets_seconds[-1] == 3600


def test_precedence_is_constructor_mapping_environment_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source wins over the next one for the fields that it sets, and only for those."""
    monkeypatch.setenv("CELERY_HEALTH_NAMESPACE", "env")
    monkeypatch.setenv("CELERY_HEALTH_MIN_WORKERS", "2")
    monkeypatch.setenv("CELERY_HEALTH_MAX_CUSTOMERS", "5")
    found = Settings.from_mapping({"namespace": "map", "min_workers": 3}, namespace="own")
    assert (found.namespace, found.min_workers, found.max_customers, found.cache_seconds) == ("own", 3, 5, 2.0)
    assert Settings(namespace="own").min_workers == 2
    assert Settings.from_env().namespace == "env"


def test_the_configuration_of_flask_may_be_given_whole() -> None:
    """Keys of other packages in capitals are left alone, ours are found by their prefix."""
    found = Settings.from_mapping({"DEBUG": True, "SECRET_KEY": "x", "CELERY_HEALTH_MIN_WORKERS": 4})
    assert found.min_workers == 4


def test_a_celery_app_carries_settings_for_its_workers() -> None:
    """``app.conf.celery_health`` is read by workers and web processes alike."""
    app = Celery("any")
    app.conf.celery_health = {"customer_argument": "tenant"}
    assert Settings.from_celery(app).customer_argument == "tenant"


def test_variables_that_kubernetes_injects_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Kubernetes service named celery-health sets variables with our prefix: they are no settings."""
    monkeypatch.setenv("CELERY_HEALTH_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("CELERY_HEALTH_PORT", "tcp://10.0.0.1:80")
    assert Settings.from_env() == Settings.from_mapping({})


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("0.5", "timeout_seconds", 0.5),
        ("0", "cache_seconds", 0.0),
        ("celery, priority", "queues", ("celery", "priority")),
        ("", "queues", None),
        ("", "namespace", ""),
        ("", "customer_argument", None),
        ("0.1,1,10", "duration_buckets_seconds", (0.1, 1.0, 10.0)),
        ("rediss://host/1", "metrics_store", "rediss://host/1"),
    ],
)
def test_environment_variables_are_read(monkeypatch: pytest.MonkeyPatch, text: str, field: str, value: Any) -> None:
    """The text of a variable becomes a value of the field's type."""
    monkeypatch.setenv(f"CELERY_HEALTH_{field.upper()}", text)
    assert getattr(Settings.from_env(), field) == value


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("timeout_seconds", 0, "a number above 0"),
        ("timeout_seconds", "soon", "a number above 0"),
        ("timeout_seconds", None, "a number above 0"),
        ("timeout_seconds", float("nan"), "a number above 0"),
        ("cache_seconds", -1, "a number of at least 0"),
        ("min_workers", 1.5, "a whole number of at least 0"),
        ("min_workers", True, "a whole number of at least 0"),
        ("queue_length_threshold", "many", "a whole number of at least 0"),
        ("namespace", "1st", "letters, digits and underscores"),
        ("namespace", "a-b", "letters, digits and underscores"),
        ("queues", [], "a list of queue names"),
        ("queues", 3, "a list of queue names"),
        ("metrics_store", "mysql://x", "'auto', 'control' or a Redis URL"),
        ("metrics_key_prefix", "a{b", "without braces"),
        ("duration_buckets_seconds", (1, 1), "rising numbers above 0"),
        ("duration_buckets_seconds", (), "rising numbers above 0"),
        ("customer_argument", "not a name", "the name of a task argument"),
        ("customer_resolver", "no.such.module:function", "the dotted path"),
        ("access_token", "", "visible ASCII"),
        ("access_token", "two words", "visible ASCII"),
    ],
)
def test_a_wrong_value_names_the_key_and_what_is_allowed(field: str, value: Any, allowed: str) -> None:
    """Start fails with one sentence that says which key is wrong and what to give instead."""
    with pytest.raises(ConfigurationError, match=re.escape(allowed)) as caught:
        Settings(**{field: value})
    assert str(caught.value).startswith(f"{field}=")


def test_a_wrong_variable_is_named_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of an environment variable names the variable."""
    monkeypatch.setenv("CELERY_HEALTH_MIN_WORKERS", "-1")
    with pytest.raises(ConfigurationError, match="CELERY_HEALTH_MIN_WORKERS='-1' is not allowed"):
        Settings.from_env()


@pytest.mark.parametrize("key", ["min_worker", "CELERY_HEALTH_MIN_WORKER"])
def test_an_unknown_key_of_a_mapping_is_an_error(key: str) -> None:
    """A typing mistake in a mapping is told, with the keys that exist."""
    with pytest.raises(ConfigurationError, match=f"{key} is no setting: allowed are .*min_workers"):
        Settings.from_mapping({key: 1})


def test_secrets_are_in_no_message_and_no_repr() -> None:
    """Neither the token nor a URL with a password is ever shown."""
    for field, value in (("access_token", "hunter 2"), ("metrics_store", "mysql://:hunter 2@x")):
        with pytest.raises(ConfigurationError) as caught:
            Settings(**{field: value})  # type: ignore[arg-type]
        assert "hunter" not in str(caught.value)
    assert "hunter" not in repr(Settings(access_token="hunter2", metrics_store="redis://:hunter2@h/0"))
