"""The guides are followed: their files written, their commands run, their queries parsed."""

from __future__ import annotations

import re
import shlex
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from celery_health_bp.cli.assets import main
from tests.support import readme
from tests.support.assets import ALERTS, packaged, rules
from tests.support.guide import DOCS, NOT_RUN, Guide, blocks, commands
from tests.support.processes import ROOT, Process, wait_until
from tests.support.prometheus import promtool, require_prometheus
from tests.support.servers import RedisServer

PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
ALERT_PAGES = [page for page in PAGES if page.startswith("alerts/")]
COMMANDS = {
    (page, command)
    for page in PAGES
    for language, text in blocks(page)
    if language == "console"
    for command, _ in commands(text)
}


@pytest.fixture
def guide(tmp_path: Path, redis: RedisServer, started: list[Process]) -> Guide:
    """A reader in an empty folder, with a Redis."""
    return Guide(tmp_path, redis, started)


# -- pages that are followed from top to bottom --


@pytest.mark.leaves("broker", reason="what the shell started is killed with it")
@pytest.mark.parametrize("page", ["flask.md", "wsgi.md", "grafana.md", "kubernetes.md", "redis.md"])
def test_a_guide_does_what_it_shows(guide: Guide, page: str) -> None:
    """Every command of the page ends well and prints what the page shows."""
    guide.follow(page)


@pytest.mark.slow
@pytest.mark.leaves("broker", reason="what the shell started is killed with it")
@pytest.mark.timeout(240)
def test_from_an_empty_django_project_to_a_firing_alert(guide: Guide) -> None:
    """The Django guide and then the Prometheus guide, in one folder, end with an alert that fires."""
    require_prometheus()
    guide.follow("django.md")
    guide.follow("prometheus.md")


@pytest.mark.slow
@pytest.mark.leaves("broker", reason="what the shell started is killed with it")
def test_the_commands_of_the_runbook_work_on_a_live_fleet(guide: Guide) -> None:
    """The workers of the best practices run, and every command of the alerts' pages ends well on them."""
    guide.write("# upstream.py\n" + readme.blocks("python")[0])
    guide.follow("best-practices.md")
    guide.do("gunicorn upstream:web --bind 127.0.0.1:8000 &")
    guide.do("celery -A upstream health", "HEALTHY: 2 workers answer, no queue is longer than 1000\n")
    wait_until(lambda: guide.run("curl -s http://127.0.0.1:8000/api/celery/health/").returncode == 0, "the web answers")
    for command in sorted({command for page, command in COMMANDS if page in ALERT_PAGES}):
        guide.do(command)


# -- every page --


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    """Python and console blocks stand on pages that are followed; the rest is parsed."""
    followed = {"flask.md", "wsgi.md", "grafana.md", "kubernetes.md", "django.md", "prometheus.md", "best-practices.md"}
    followed |= {"redis.md"}
    for page in PAGES:
        languages = {language for language, _ in blocks(page)}
        assert (DOCS / page).read_text().count("```") == 2 * len(blocks(page)), page
        if page in ALERT_PAGES:
            assert languages <= {"console", "promql"}, page
        elif page == "api.md":  # signatures: tests/docs/test_api_page.py
            assert languages == {"python"}
        elif page == "permissions.md":  # tests/system/test_permissions.py
            assert languages == {"redis", "rabbitmq"}
        elif page in followed:
            assert languages <= {"python", "console", "promql", "yaml"}, page
        else:
            assert not languages, page


def test_commands_that_cannot_be_run_name_what_exists() -> None:
    """pip installs extras that exist; kubectl and docker get files that exist."""
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
    """Each promql block is an expression over recordings and metrics that exist."""
    queries = [text for page in PAGES for language, text in blocks(page) if language == "promql"]
    group = {"name": "docs", "rules": [{"record": f"q{n}", "expr": text} for n, text in enumerate(queries)]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [group]}))
    known = {rule["record"] for rule in rules(packaged("prometheus/alerts.yml")) if "record" in rule}
    known |= {name for name, _, _ in readme.METRICS}
    for query in queries:
        names = re.findall(r"[\w:]*(?:background_job|celery)_[\w:]+", re.sub(r'"[^"]*"', "", query))
        assert {name.replace("shop_", "upstream_") for name in names} <= known, query
    done = promtool(tmp_path, "check", "rules", "rules.yml")
    assert done.returncode == 0, done.stderr


def test_the_recordings_that_are_listed_exist() -> None:
    """What the Prometheus guide names is recorded."""
    recorded = {rule["record"] for rule in rules(packaged("prometheus/alerts.yml")) if "record" in rule}
    named = set(re.findall(r"`(task\w*:[\w:]+)`", (DOCS / "prometheus.md").read_text()))
    assert named
    assert {name.replace("shop_", "upstream_") for name in named} <= recorded


def test_yaml_blocks_are_what_the_examples_hold() -> None:
    """The YAML of the guides stands in the examples with the same values."""
    provider = yaml.safe_load(dict(blocks("grafana.md"))["yaml"])
    assert provider == yaml.safe_load((ROOT / "examples" / "docker" / "grafana" / "dashboards.yml").read_text())
    probes = yaml.safe_load(dict(blocks("kubernetes.md"))["yaml"])
    web = next(yaml.safe_load_all((ROOT / "examples" / "kubernetes" / "deployment.yml").read_text()))
    container = web["spec"]["template"]["spec"]["containers"][0]
    for name, probe in probes.items():
        assert probe.items() <= container[name].items()


def test_every_link_leads_to_a_file() -> None:
    """No relative link is broken, and the index names every page."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", (DOCS / page).read_text()):
            assert ((DOCS / page).parent / target).is_file(), f"{page}: {target}"
    linked = set(re.findall(r"\]\(([^)#:]+)\)", (DOCS / "README.md").read_text()))
    assert linked == set(PAGES) - {"README.md"}


def test_each_alert_has_a_page_of_three_parts() -> None:
    """What it means, where to look first, what to do."""
    assert {Path(page).stem for page in ALERT_PAGES} == ALERTS
    for page in ALERT_PAGES:
        text = (DOCS / page).read_text()
        assert text.startswith(f"# {Path(page).stem}\n")
        assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["What it means", "Look here first", "Do this"]


def test_options_named_in_a_sentence_exist() -> None:
    """Every ``celery-health-assets`` command within a sentence ends well, and the table lists all options of alerts."""
    for page in PAGES:
        prose = re.sub(r"^```.*?^```", "", (DOCS / page).read_text(), flags=re.MULTILINE | re.DOTALL)
        for arguments in re.findall(r"`celery-health-assets ([^`]+)`", prose):
            done = CliRunner().invoke(main, shlex.split(arguments))
            assert done.exit_code == 0, f"{page}: {arguments}"
    listed = set(re.findall(r"^\| `(--[a-z-]+)`", (DOCS / "prometheus.md").read_text(), re.MULTILINE))
    options = {name for option in main.commands["alerts"].params for name in option.opts if name.startswith("--")}
    assert listed == options - {"--output"}
