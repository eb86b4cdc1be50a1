"""``celery-health-assets``: prints or writes the packaged Prometheus and Grafana files with the user's names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from .. import monitoring
from ..allowed import MAX_SECONDS
from ..errors import ConfigurationError
from ..monitoring import Names, Thresholds
from ..settings import Settings

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _matching(pattern: str, allowed: str, is_allowed: Callable[[str], bool] = bool) -> Callable[[str], str]:
    """Return a click type for text.

    Arguments:
        pattern: regular expression that the whole text must match.
        allowed: description of what is allowed, for the error message.
        is_allowed: additional check.
    """

    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII) or not is_allowed(value):
            raise click.BadParameter(f"{value!r} is not {allowed}")
        return value

    return parse


def _number(is_allowed: Callable[[float], bool], allowed: str) -> Callable[[str], float]:
    """Return a click type for a number. click's own ``FloatRange`` accepts ``nan``.

    Arguments:
        is_allowed: check of the number; ``nan`` fails any comparison.
        allowed: description of what is allowed, for the error message.
    """

    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not is_allowed(number):
            raise click.BadParameter(f"{value!r} is not {allowed}")
        return number

    return parse


def _up_to_a_year(duration: str) -> bool:
    return monitoring.seconds_of(duration) <= 365 * monitoring.UNITS_SECONDS["d"]


#: Duration as Prometheus parses it: each unit once, from the longest to the shortest.
_UNITS = r"(?=\d)(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?"
DURATION = _matching(
    rf"(?=.*[1-9]){_UNITS}", "a duration above 0 such as 30s, 5m or 1h30m, at most 365d", _up_to_a_year
)
HOLD = _matching(_UNITS, "a duration such as 0s, 5m or 1h30m, at most 365d", _up_to_a_year)
TARGET = _matching(r"[\w.-]+:\d{1,5}|\[[0-9a-fA-F:.]+\]:\d{1,5}", "a host and a port such as web:8000")
JOB = _matching(r"[\w./-]+", "a name of letters, digits and any of _ . / -")
DOCS = _matching(r"https?://[\w.-][\w/.~:@%&=?+-]*", "a URL such as https://wiki.example/celery/")
POD_NAME = _matching(r"[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", "the value of a Kubernetes label")
RATIO = _number(lambda number: 0 <= number <= 1, "a number from 0 to 1")
SECONDS = _number(lambda number: 0 < number <= MAX_SECONDS, f"a number above 0 and at most {MAX_SECONDS}")


@click.group()
def main() -> None:
    """Print the Prometheus and Grafana files of this package, with your names and thresholds.

    Namespace, queue length and workers come from the same settings as the metrics
    (environment variables CELERY_HEALTH_...) unless given here.
    """


def _shared(command: _Command) -> _Command:
    """Add the options that all commands share."""
    for option in (
        click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write this file instead."),
        click.option("--job", type=JOB, metavar="NAME", help="Name of the scrape job.  [default: NAMESPACE-celery]"),
        click.option("--namespace", metavar="TEXT", help="Prefix of the job metrics, may be empty."),
    ):
        command = option(command)
    return command


@main.command()
@_shared
@click.option("--failure-ratio", type=RATIO, metavar="NUMBER", help="Share of attempts that may fail.  [default: 0.1]")
@click.option("--slow-seconds", type=SECONDS, metavar="NUMBER", help="Slow at p95.  [default: 300]")
@click.option(
    "--queue-length", type=click.IntRange(0), metavar="NUMBER", help="Messages that may wait.  [default: 1000]"
)
@click.option("--min-workers", type=click.IntRange(0), metavar="NUMBER", help="Workers that must answer.  [default: 1]")
@click.option(
    "--window", type=DURATION, metavar="DURATION", default="5m", show_default=True, help="What rates are taken over."
)
@click.option(
    "--for", "hold", type=HOLD, metavar="DURATION", help="How long each alert must hold.  [default: 5m to 15m]"
)
@click.option(
    "--docs", type=DOCS, metavar="URL", help="Where the pages of docs/alerts/ are served.  [default: no runbook_url]"
)
def alerts(
    namespace: str | None,
    job: str | None,
    output: Path | None,
    failure_ratio: float | None,
    slow_seconds: float | None,
    queue_length: int | None,
    min_workers: int | None,
    window: str,
    hold: str | None,
    docs: str | None,
) -> None:
    """Recording rules and alerts for Prometheus."""
    settings = _settings(namespace=namespace, queue_length_threshold=queue_length, min_workers=min_workers)
    thresholds = Thresholds(
        failure_ratio=failure_ratio,
        p95_seconds=slow_seconds,
        queue_length=settings.queue_length_threshold,
        workers=settings.min_workers,
        window=window,
        hold=hold,
    )
    _write(monitoring.alerts(Names(settings.namespace, job), thresholds, docs), output)


@main.command()
@_shared
@click.option("--target", "targets", type=TARGET, multiple=True, metavar="HOST:PORT", help="Can be given repeatedly.")
@click.option("--kubernetes", "pod_name", type=POD_NAME, metavar="NAME", help="Find the pods of this name instead.")
@click.option(
    "--interval", type=DURATION, metavar="DURATION", default="15s", show_default=True, help="Time between two scrapes."
)
def scrape(
    namespace: str | None,
    job: str | None,
    output: Path | None,
    targets: tuple[str, ...],
    pod_name: str | None,
    interval: str,
) -> None:
    """The scrape job for Prometheus, for fixed hosts or for pods."""
    if targets and pod_name:
        raise click.UsageError("--target and --kubernetes exclude each other.")
    names = Names(_settings(namespace=namespace).namespace, job)
    if pod_name:
        _write(monitoring.scrape_kubernetes(names, pod_name, interval), output)
    else:
        _write(monitoring.scrape(names, targets, interval), output)


@main.command()
@_shared
@click.option(
    "--window", type=DURATION, metavar="DURATION", default="5m", show_default=True, help="The same as for alerts."
)
def dashboard(namespace: str | None, job: str | None, output: Path | None, window: str) -> None:
    """The dashboard for Grafana; it shows what the recording rules record."""
    _write(monitoring.dashboard(Names(_settings(namespace=namespace).namespace, job), window), output)


def _settings(**given: Any) -> Settings:
    """Return the settings from the environment, with the options of the command line on top."""
    try:
        return Settings.from_mapping({key: value for key, value in given.items() if value is not None})
    except ConfigurationError as exc:
        raise click.UsageError(str(exc)) from exc


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise click.UsageError(f"{output} cannot be written: {exc.strerror}") from exc
