"""Follow the guides: write their files, run their commands, parse their queries."""

from __future__ import annotations

import re
import shlex
from importlib.metadata import metadata
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from celery_health_bp.cli.assets import main
from tests.support.assets import ALERTS, packaged, rules
from tests.support.guide import NOT_RUN, Guide
from tests.support.pages import DOCS, METRICS, README, blocks, commands, fenced, text
from tests.support.processes import ROOT, Process, wait_until
from tests.support.prometheus import promtool, require_prometheus
from tests.support.servers import RedisServer

PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
ALERT_PAGES = [page for page in PAGES if page.startswith("alerts/")]
COMMANDS = {(page, command) for page in PAGES for block in blocks(page, "console") for command, _ in commands(block)}


@pytest.fixture
def guide(tmp_path: Path, redis: RedisServer, started: list[Process]) -> Guide:
    """Return a reader in an empty folder, with a Redis."""
    return Guide(tmp_path, redis, started)


# -- pages that are followed from top to bottom --


@pytest.mark.leaves("broker", reason="processes of the shell are killed with it")
@pytest.mark.parametrize(
    "page", [pytest.param("flask.md", marks=pytest.mark.slow), "wsgi.md", "grafana.md", "kubernetes.md", "redis.md"]
)
def test_a_guide_does_what_it_shows(guide: Guide, page: str) -> None:
    """Every command of the page succeeds and prints the output that the page shows."""
    guide.follow(page)


@pytest.mark.slow
@pytest.mark.leaves("broker", reason="processes of the shell are killed with it")
@pytest.mark.timeout(240)
def test_from_an_empty_django_project_to_a_firing_alert(guide: Guide) -> None:
    """The Django guide and then the Prometheus guide, in one folder, end with an alert that fires."""
    require_prometheus()
    guide.follow("django.md")
    guide.follow("prometheus.md")


@pytest.mark.slow
@pytest.mark.leaves("broker", reason="processes of the shell are killed with it")
def test_the_commands_of_the_runbook_work_on_a_live_fleet(guide: Guide) -> None:
    """With the workers of the best practices, every command of the alerts' pages succeeds."""
    guide.write("# upstream.py\n" + blocks(README, "python")[0])
    guide.follow("best-practices.md")
    guide.do("gunicorn upstream:web --bind 127.0.0.1:8000 &")
    guide.do("celery -A upstream health", "HEALTHY: 2 workers answer, no queue is longer than 1000\n")
    wait_until(lambda: guide.run("curl -s http://127.0.0.1:8000/api/celery/health/").returncode == 0, "the web answers")
    for command in sorted({command for page, command in COMMANDS if page in ALERT_PAGES}):
        guide.do(command)


# -- every page --


#: Pages whose blocks other tests read -> their languages.
READ_ELSEWHERE = {
    README: {"python", "console", "text"},  # test_readme.py; the text is a picture
    "permissions.md": {"redis", "rabbitmq"},  # tests/system/test_permissions.py
    "reference/command.md": {"console"},  # test_readme.py
    "reference/counting.md": {"python"},  # test_readme.py
    "reference/endpoints.md": {"json"},  # test_reference.py
    "reference/metrics.md": {"python"},  # test_readme.py
    "reference/settings.md": {"python"},  # test_readme.py
}


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    """Each block is followed or parsed by a test here, or stands on a page that another test reads."""
    followed = {"flask.md", "wsgi.md", "grafana.md", "kubernetes.md", "django.md", "prometheus.md", "best-practices.md"}
    followed |= {"redis.md"}
    for page in (README, *PAGES):
        languages = {language for language, _ in fenced(page)}
        assert text(page).count("```") == 2 * len(fenced(page)), page
        if page in ALERT_PAGES:
            assert languages <= {"console", "promql"}, page
        elif page in READ_ELSEWHERE:
            assert languages == READ_ELSEWHERE[page], page
        elif page in followed:
            assert languages <= {"python", "console", "promql", "yaml"}, page
        else:
            assert not languages, page


def test_commands_that_cannot_be_run_name_what_exists() -> None:
    """pip installs existing extras; kubectl and docker get existing files."""
    extras = set(metadata("celery-health-bp").get_all("Provides-Extra") or [])
    found = [command for _, command in COMMANDS if command.startswith(NOT_RUN)]
    assert found
    for command in found:
        if command.startswith("pip"):
            assert set(re.findall(r"\w+", re.search(r"\[(.*)\]", command)[1])) <= extras  # type: ignore[index]
        else:
            words = shlex.split(command)
            assert (ROOT / words[words.index("-f") + 1]).exists(), command


def test_prometheus_parses_every_query_and_knows_its_metrics(tmp_path: Path) -> None:
    """Each promql block is an expression over existing recordings and metrics."""
    queries = [query for page in PAGES for query in blocks(page, "promql")]
    group = {"name": "docs", "rules": [{"record": f"q{n}", "expr": query} for n, query in enumerate(queries)]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [group]}))
    known = {rule["record"] for rule in rules(packaged("prometheus/alerts.yml")) if "record" in rule}
    known |= {name for name, _, _ in METRICS}
    for query in queries:
        names = re.findall(r"[\w:]*(?:background_job|celery)_[\w:]+", re.sub(r'"[^"]*"', "", query))
        assert {name.replace("shop_", "upstream_") for name in names} <= known, query
    done = promtool(tmp_path, "check", "rules", "rules.yml")
    assert done.returncode == 0, done.stderr


def test_the_recordings_that_are_listed_exist() -> None:
    """The rules contain each recording that the Prometheus guide names."""
    recorded = {rule["record"] for rule in rules(packaged("prometheus/alerts.yml")) if "record" in rule}
    named = set(re.findall(r"`(task\w*:[\w:]+)`", text("prometheus.md")))
    assert named
    assert {name.replace("shop_", "upstream_") for name in named} <= recorded


def test_yaml_blocks_are_what_the_examples_hold() -> None:
    """The examples contain the YAML of the guides with the same values."""
    provider = yaml.safe_load(blocks("grafana.md", "yaml")[0])
    assert provider == yaml.safe_load((ROOT / "examples" / "docker" / "grafana" / "dashboards.yml").read_text())
    probes = yaml.safe_load(blocks("kubernetes.md", "yaml")[0])
    web = next(yaml.safe_load_all((ROOT / "examples" / "kubernetes" / "deployment.yml").read_text()))
    container = web["spec"]["template"]["spec"]["containers"][0]
    for name, probe in probes.items():
        assert probe.items() <= container[name].items()


def test_every_link_leads_to_a_file() -> None:
    """No relative link is broken, each anchor is a heading, and the index names every page."""
    for page in (README, *PAGES):
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", text(page)):
            path = (DOCS / page).parent / target if target else DOCS / page
            assert path.is_file(), f"{page}: {target}"
            assert not anchor or anchor in anchors(path), f"{page}: {target}#{anchor}"
    linked = set(re.findall(r"\]\(([^)#:]+)\)", text("README.md")))
    assert linked == set(PAGES) - {"README.md"}


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_alert_has_a_page_of_three_parts() -> None:
    """Each alert has a page with its meaning, the first place to look, and the remedy."""
    assert {Path(page).stem for page in ALERT_PAGES} == ALERTS
    for page in ALERT_PAGES:
        assert text(page).startswith(f"# {Path(page).stem}\n")
        assert re.findall(r"^## (.*)", text(page), re.MULTILINE) == ["What it means", "Look here first", "Do this"]


def test_options_named_in_a_sentence_exist() -> None:
    """Every ``celery-health-assets`` command in a sentence succeeds."""
    for page in PAGES:
        prose = re.sub(r"^```.*?^```", "", text(page), flags=re.MULTILINE | re.DOTALL)
        for arguments in re.findall(r"`celery-health-assets ([^`]+)`", prose):
            done = CliRunner().invoke(main, shlex.split(arguments))
            assert done.exit_code == 0, f"{page}: {arguments}"


def test_the_tables_list_every_option_of_celery_health_assets() -> None:
    """Each option stands in the table of its command, or in that of all commands, with its value and its default."""
    shared, *parts = re.split(r"^## (\w+)$", text("reference/assets.md"), flags=re.MULTILINE)
    tables = dict(zip(parts[::2], parts[1::2], strict=True))
    assert tables.keys() == main.commands.keys()
    for name, part in tables.items():
        options = [option for option in main.commands[name].params if isinstance(option, click.Option)]
        values = {f"{option.opts[0]} {option.metavar or 'FILE'}": option for option in options}
        rows = dict(re.findall(r"^\| `(--[^`]+)` \| ([^|]*) \|", shared + part, re.MULTILINE))
        assert rows.keys() == values.keys()
        for usage, default in rows.items():
            said = re.search(r"\[default: (.*)\]", values[usage].help or "")
            value = said[1] if said else values[usage].default if values[usage].show_default else ""
            assert value in default.replace("`", ""), usage
