"""Settings: their sources, and the errors for wrong values."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest
from celery import Celery

from celery_health_bp import Settings
from celery_health_bp.allowed import CHECKS
from celery_health_bp.errors import ConfigurationError


def test_every_field_has_a_check() -> None:
    """Each field of ``Settings`` has an entry in ``CHECKS``."""
    assert {field.name for field in fields(Settings)} == set(CHECKS)


def test_defaults_are_those_documented() -> None:
    """Without any configuration the documented defaults hold."""
    settings = Settings()
    assert (settings.namespace, settings.queues, settings.queue_length_threshold) == ("upstream", None, 1000)
    assert (settings.timeout_seconds, settings.cache_seconds, settings.min_workers) == (2.0, 2.0, 1)
    assert settings.duration_buckets_seconds[-1] == 3600


def test_precedence_is_constructor_mapping_environment_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source overrides the next one, only for the fields that it sets."""
    monkeypatch.setenv("CELERY_HEALTH_NAMESPACE", "env")
    monkeypatch.setenv("CELERY_HEALTH_MIN_WORKERS", "2")
    monkeypatch.setenv("CELERY_HEALTH_MAX_CUSTOMERS", "5")
    found = Settings.from_mapping({"namespace": "map", "min_workers": 3}, namespace="own")
    assert (found.namespace, found.min_workers, found.max_customers, found.cache_seconds) == ("own", 3, 5, 2.0)
    assert Settings(namespace="own").min_workers == 2
    assert Settings.from_env().namespace == "env"


def test_the_configuration_of_flask_may_be_given_whole() -> None:
    """In a mapping with keys of other packages, ours are found by their prefix and the others ignored."""
    found = Settings.from_mapping({"DEBUG": True, "SECRET_KEY": "x", "CELERY_HEALTH_MIN_WORKERS": 4})
    assert found.min_workers == 4


def test_a_celery_app_carries_settings_for_its_workers() -> None:
    """``app.conf.celery_health`` is read by workers and web processes alike."""
    app = Celery("any")
    app.conf.celery_health = {"customer_argument": "tenant"}
    assert Settings.from_celery(app).customer_argument == "tenant"


@pytest.mark.parametrize("service", ["", "WEB_"])
def test_variables_of_kubernetes_services_are_ignored(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, service: str
) -> None:
    """Services named celery-health and celery-health-web set variables with our prefix; these are not settings."""
    for name in ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP", "PORT_80_TCP_ADDR"):
        monkeypatch.setenv(f"CELERY_HEALTH_{service}{name}", "10.0.0.1")
    assert Settings.from_env() == Settings.from_mapping({})
    assert caplog.records == []


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
    """The text of a variable is converted to the type of the field."""
    monkeypatch.setenv(f"CELERY_HEALTH_{field.upper()}", text)
    assert getattr(Settings.from_env(), field) == value


def test_a_list_of_stores_is_accepted() -> None:
    """A list of URLs equals one string with ; between them, as in Celery's ``broker_url``."""
    assert Settings(metrics_store=["redis://a", "redis://b"]).metrics_store == "redis://a;redis://b"  # type: ignore[arg-type]


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
        ("celery_app_argument", "-A proj", "what stands after celery -A"),
        ("access_token", "two words", "visible ASCII"),
        ("timeout_seconds", 1e10, "a number above 0 and at most 86400"),
        ("timeout_seconds", 10**400, "a number above 0 and at most 86400"),
        ("cache_seconds", float("inf"), "a number of at least 0 and at most 86400"),
        ("flush_interval_seconds", "1e10", "a number above 0 and at most 86400"),
        ("min_workers", 10**10, "a whole number of at least 0 and at most 1000000000"),
        ("max_customers", "9" * 5000, "a whole number of at least 0 and at most 1000000000"),
        ("duration_buckets_seconds", (1, "x"), "rising numbers above 0"),
        ("duration_buckets_seconds", (1, 1e300), "rising numbers above 0 and at most 1000000000"),
    ],
)
def test_a_wrong_value_names_the_key_and_what_is_allowed(field: str, value: Any, allowed: str) -> None:
    """The error names the key and the allowed values."""
    with pytest.raises(ConfigurationError, match=re.escape(allowed)) as caught:
        Settings(**{field: value})
    assert str(caught.value).startswith(f"{field}=")


@pytest.mark.parametrize(
    "urls", ["redis://a;http://b", "redis://a;HTTP://b", "sentinel://a:1;amqp://b", "redis://a;unix://"]
)
def test_each_entry_of_a_list_must_be_a_redis(urls: str) -> None:
    """A single entry of another kind, at any position, makes the setting wrong."""
    with pytest.raises(ConfigurationError, match="metrics_store"):
        Settings(metrics_store=urls)


def test_the_error_of_a_variable_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of an environment variable names the variable, not the field."""
    monkeypatch.setenv("CELERY_HEALTH_MIN_WORKERS", "-1")
    with pytest.raises(ConfigurationError, match="CELERY_HEALTH_MIN_WORKERS='-1' is not allowed"):
        Settings.from_env()


@pytest.mark.parametrize(
    ("key", "meant"),
    [("min_worker", "min_workers"), ("CELERY_HEALTH_MIN_WORKER", "CELERY_HEALTH_MIN_WORKERS")],
)
def test_an_unknown_key_of_a_mapping_is_an_error(key: str, meant: str) -> None:
    """The error of a misspelled key has the most similar key and all allowed ones."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_mapping({key: 1})
    message = str(caught.value)
    assert message.startswith(f"{key} is no setting (did you mean {meant}?); allowed are namespace, queues, ")


def test_a_value_that_python_cannot_print_is_refused() -> None:
    """An integer beyond Python's limit of digits gets the usual error with its type."""
    with pytest.raises(ConfigurationError, match=r"^min_workers=\(int\) is not allowed: give a whole number"):
        Settings(min_workers=10**5000)


def test_one_error_names_all_wrong_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the wrong values of all sources and all unknown keys."""
    monkeypatch.setenv("CELERY_HEALTH_MAX_CUSTOMERS", "many")
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_mapping({"min_workers": "few", "pool": 3, "cache_second": 1, 7: 8}, queues=3)
    sentences = str(caught.value).split("; ")
    assert [sentence.partition(" is n")[0] for sentence in sentences[:-1]] == [
        "queues=3",
        "min_workers='few'",
        "CELERY_HEALTH_MAX_CUSTOMERS='many'",
        "pool",
        "cache_second",
        "7",
    ]
    assert sentences[4] == "cache_second is no setting (did you mean cache_seconds?)"
    assert sentences[-1].startswith("allowed are namespace, queues, ")


@pytest.mark.parametrize("wrong", [["a"], "min_workers", 3, True])
def test_a_configuration_must_be_a_mapping(wrong: Any) -> None:
    """The error for another type names the source and the type."""
    sentence = f"must be a mapping of settings such as {{'min_workers': 2}}, not {type(wrong).__name__}"
    app = Celery("any")
    app.conf.celery_health = wrong
    for source, make in (
        ("settings", lambda: Settings.from_mapping(wrong)),
        ("celery_health", lambda: Settings.from_celery(app)),
    ):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert str(caught.value) == f"{source} {sentence}"


def test_unknown_variables_are_logged_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An unknown variable with our prefix is logged once with the most similar setting."""
    monkeypatch.setenv("CELERY_HEALTH_MIN_WORKER", "2")
    monkeypatch.setenv("CELERY_HEALTH_COLOUR", "blue")
    for _ in range(2):
        Settings.from_env()
    assert [record.getMessage() for record in caplog.records] == [
        "environment variable CELERY_HEALTH_COLOUR is no setting",
        "environment variable CELERY_HEALTH_MIN_WORKER is no setting (did you mean CELERY_HEALTH_MIN_WORKERS?)",
    ]


def test_messages_and_repr_contain_no_secrets() -> None:
    """Neither the token nor the password of a URL is shown."""
    for field, value in (("access_token", "hunter 2"), ("metrics_store", "mysql://:hunter 2@x")):
        with pytest.raises(ConfigurationError) as caught:
            Settings(**{field: value})  # type: ignore[arg-type]
        assert "hunter" not in str(caught.value)
    assert "hunter" not in repr(Settings(access_token="hunter2", metrics_store="redis://:hunter2@h/0"))
