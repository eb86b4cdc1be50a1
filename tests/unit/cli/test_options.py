"""Values of the command's options, which Django's ``call_command`` may pass as objects."""

from __future__ import annotations

import re
from typing import Any

import pytest

from celery_health_bp.cli.options import MIN_WATCH_SECONDS, Options
from celery_health_bp.errors import ConfigurationError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "xml"}, "--format takes text or json, not 'xml'"),
        ({"nagios": True, "format": "json"}, "--nagios and --format json exclude each other"),
        ({"timeout": "1"}, "--timeout takes a number of seconds, not '1'"),
        ({"timeout": True}, "--timeout takes a number of seconds, not True"),
        ({"watch": [1]}, "--watch takes a number of seconds, not [1]"),
        ({"watch": 0.01}, "--watch takes seconds from 0.1 to 86400"),
        ({"watch": float("nan")}, "--watch takes seconds from 0.1 to 86400"),
        ({"watch": 10**6}, "--watch takes seconds from 0.1 to 86400"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], message: str) -> None:
    """The error names the option and the allowed values."""
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        Options(**options).check()


@pytest.mark.parametrize(
    "options", [{}, {"format": "json", "verbose": True}, {"nagios": True}, {"timeout": 1, "watch": MIN_WATCH_SECONDS}]
)
def test_allowed_options_pass(options: dict[str, Any]) -> None:
    """The limits themselves are allowed."""
    Options(**options).check()
