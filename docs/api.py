"""Writes ``docs/api.md`` from the docstrings: ``make docs``. A test fails when the page is stale."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import griffe

from celery_health_bp.cli.assets import main as assets
from celery_health_bp.cli.celery import health
from celery_health_bp.settings import Settings

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "api.md"
LINE_LENGTH = 100

INTRODUCTION = """# API

Made from the docstrings by `make docs`. What is not on this page may change with any version.
"""

#: Heading and module -> objects, and those of their members that are for users.
OBJECTS: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("Health", "celery_health_bp"): {
        "health.CeleryHealth": ("app", "settings", "check", "observe", "ask", "close"),
        "settings.Settings": ("from_env", "from_mapping", "from_celery"),
    },
    ("Flask and WSGI", "celery_health_bp"): {
        "flask.create_blueprint": (),
        "web.wsgi.MetricsMiddleware": (),
        "web.wsgi.mount": (),
        "web.wsgi.create_api_app": (),
        "web.wsgi.create_metrics_app": (),
    },
    ("Tasks", "celery_health_bp"): {"tasks.MonitoredTask": (), "tasks.monitor_task": ()},
    ("Django", "celery_health_bp.django"): {"django.health_of_project": ()},
    ("Results", "celery_health_bp.report"): {
        "report.HealthReport": ("healthy_workers",),
        "report.Observation": ("running", "scheduled"),
        "report.Worker": ("active",),
        "report.Queue": (),
        "report.RunningTask": (),
        "report.ScheduledTask": (),
    },
}


def page() -> str:
    """The whole page."""
    package = griffe.load("celery_health_bp", search_paths=[ROOT], docstring_parser=griffe.Parser.google)
    parts = [INTRODUCTION]
    for (heading, module), objects in OBJECTS.items():
        parts.append(f"## {heading}\n\nFrom `{module}`.\n")
        if module == "celery_health_bp.django":
            parts.extend(sections(package["django"]))
        for path, members in objects.items():
            parts.extend([f"### {package[path].name}\n", *described(package[path])])
            for name in members:
                parts.extend(described(package[path][name], f"{package[path].name}."))
    parts.append("## Errors\n\nFrom `celery_health_bp.errors`.\n")
    parts.append("\n".join(error_tree(package["errors"], "CeleryHealthError")) + "\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join([*parts, *commands()]))


# -- objects --


def described(found: Any, prefix: str = "") -> Iterator[str]:
    """How it is used, and its docstring."""
    if found.name != "Settings":  # its table tells more
        yield f"```python\n{signature(found, prefix)}\n```\n"
    yield from sections(found)


def signature(found: Any, prefix: str) -> str:
    """How it is called, on one line or with one for each parameter; what a result holds; the type of an attribute."""
    if found.is_attribute:
        return f"{prefix}{found.name}: {found.annotation}"
    shown = list(_parameters(found))
    if found.is_class and ("dataclass" in found.labels or not shown):
        bases = f"({', '.join(str(base).lstrip('_') for base in found.bases)})" if found.bases else ""
        return "\n    ".join([f"class {found.name}{bases}:", *(shown or ["..."])])
    end = f" -> {found.returns}" if found.is_function else ""
    line = f"{prefix}{found.name}({', '.join(shown)}){end}"
    if len(line) > LINE_LENGTH:
        line = f"{prefix}{found.name}(\n" + "".join(f"    {text},\n" for text in shown) + f"){end}"
    return line


def _parameters(found: Any) -> Iterator[str]:
    """Each parameter as it is written, but for those that Python itself gives."""
    for parameter in found.parameters:
        if parameter.name not in ("self", "cls"):
            stars = "**" if parameter.kind is griffe.ParameterKind.var_keyword else ""
            default = f" = {parameter.default}" if parameter.default is not None and not stars else ""
            yield f"{stars}{parameter.name}: {parameter.annotation}{default.replace(' = dict()', ' = {}')}"


def sections(found: Any) -> Iterator[str]:
    """The docstring: text as Markdown, and tables of arguments and attributes, a line for each exception."""
    for section in found.docstring.parsed:
        kind = section.kind.value
        if kind == "text":
            yield markdown(section.value) + "\n"
        elif kind == "attributes" and found.name == "Settings":
            defaults = Settings()
            rows = [(row.name, _shown(getattr(defaults, row.name)), row.description) for row in section.value]
            yield table(("setting", "default"), rows)
        elif kind == "raises":
            yield "".join(f"Raises `{row.annotation}`: {cell(row.description)}\n\n" for row in section.value)
        else:
            yield table((kind.removesuffix("s"),), [(row.name, row.description) for row in section.value])


def _shown(value: Any) -> str:
    return f"({', '.join(f'{bound:g}' for bound in value)})" if isinstance(value, tuple) else repr(value)


def error_tree(errors: Any, name: str, depth: int = 0) -> Iterator[str]:
    """A line for each class, below that of its base."""
    found = errors[name]
    summary, *others = found.docstring.parsed
    attributes = "".join(f" `{row.name}`: {cell(row.description)}" for section in others for row in section.value)
    yield f"{'  ' * depth}- `{name}`: {cell(summary.value)}{attributes}"
    for other in errors.classes.values():
        if str(other.bases[0]) == name:
            yield from error_tree(errors, other.name, depth + 1)


# -- commands --


def commands() -> Iterator[str]:
    """Each command with its options."""
    yield "## Commands\n"
    yield from command("celery -A NAME health", health)
    yield "`flask --app NAME celery-health` and `python manage.py celery_health` are the same command.\n"
    for name, part in assets.commands.items():
        yield from command(f"celery-health-assets {name}", part)


def command(name: str, found: click.Command) -> Iterator[str]:
    """Its help and its options."""
    yield f"### {name}\n"
    yield f"{inspect.cleandoc(found.help or '')}\n"
    options = [option for option in found.params if isinstance(option, click.Option)]
    yield table(("option",), [(_usage(option), _help(option)) for option in options])


def _usage(option: click.Option) -> str:
    value = "" if option.is_flag else option.metavar or "|".join(getattr(option.type, "choices", ["FILE"]))
    return f"{option.opts[0]} {value}".strip()


def _help(option: click.Option) -> str:
    return f"{option.help or ''} " + (f"[default: {option.default}]" if option.show_default else "")


# -- Markdown --


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table whose last column holds text, and whose other columns hold code."""
    lines = [(*head, ""), ("---",) * (len(head) + 1)]
    lines += [(*(f"`{cell(name)}`" for name in row[:-1]), cell(row[-1])) for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(text: str) -> str:
    """Markdown on one line."""
    return " ".join(markdown(text).split()).replace("|", "\\|")


def markdown(text: str) -> str:
    """Text of a docstring: single backticks, and a fence around what is indented after a double colon."""

    def fenced(match: re.Match[str]) -> str:
        return f":\n\n```python\n{inspect.cleandoc(match[1])}\n```\n\n"

    text = re.sub(r"::\n\n((?:    .*\n|\n)+)", fenced, f"{text}\n")
    return re.sub(r"``(.+?)``", r"`\1`", text).strip()


if __name__ == "__main__":
    PAGE.write_text(page())
