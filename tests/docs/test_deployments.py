"""The Kubernetes and Docker examples are valid and agree with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from celery_health_bp import Settings
from celery_health_bp.monitoring import Names, scrape
from tests.support.processes import ROOT
from tests.support.prometheus import promtool

KUBERNETES = ROOT / "examples" / "kubernetes"
DOCKER = ROOT / "examples" / "docker"
in_checkout = pytest.mark.skipif(
    not (ROOT / "celery_health_bp").exists(), reason="compose mounts the package's sources: they are not in tox's copy"
)


def documents(name: str) -> list[dict[str, Any]]:
    """Return the documents of a file of the Kubernetes example."""
    return list(yaml.safe_load_all((KUBERNETES / name).read_text()))


@pytest.mark.parametrize("name", ["deployment.yml", "service.yml"])
def test_kubernetes_knows_every_field(name: str) -> None:
    """Each object is valid for the newest Kubernetes with a known schema; unknown fields are errors."""
    for document in documents(name):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_probes_have_the_right_paths_and_timeouts() -> None:
    """Liveness probes the web process alone; readiness checks Celery, and waits longer than a check takes."""
    web, worker = documents("deployment.yml")
    container = web["spec"]["template"]["spec"]["containers"][0]
    assert container["livenessProbe"]["httpGet"]["path"] == "/api/celery/health/live/"
    assert container["readinessProbe"]["httpGet"]["path"] == "/api/celery/health/"
    assert container["readinessProbe"]["timeoutSeconds"] > Settings().timeout_seconds + 0.4
    assert not {"livenessProbe", "readinessProbe"} & set(worker["spec"]["template"]["spec"]["containers"][0])


def test_the_service_monitor_finds_the_service() -> None:
    """Labels, port and path match the service, and the job has the name that the alert uses."""
    (monitor,), (service,) = documents("servicemonitor.yml"), documents("service.yml")
    pods = documents("deployment.yml")[0]["spec"]["template"]["metadata"]["labels"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "ServiceMonitor")
    assert set(monitor["spec"]) == {"jobLabel", "selector", "endpoints"}
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= pods.items()
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == Names().scrape_job
    assert int(endpoint["scrapeTimeout"].rstrip("s")) > Settings().timeout_seconds + 0.4


def compose() -> dict[str, Any]:
    """Return the services of the compose file."""
    services: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yml").read_text())["services"]
    return services


@in_checkout
def test_every_file_that_compose_names_exists() -> None:
    """Mounted files, build contexts and dependencies exist."""
    services = compose()
    assert {"web", "worker", "redis", "prometheus", "grafana"} <= set(services)
    for service in services.values():
        assert ("image" in service) != ("build" in service)
        assert set(service.get("depends_on", {})) <= set(services)
        for volume in service.get("volumes", ()):
            assert (DOCKER / volume.partition(":")[0]).is_file(), volume
        if "build" in service:
            context = DOCKER / service["build"]["context"]
            copied = [
                line for line in (context / service["build"]["dockerfile"]).read_text().splitlines() if "COPY" in line
            ]
            assert all((context / name).exists() for line in copied for name in line.split()[1:-1])


@in_checkout
def test_prometheus_of_compose_has_our_rules_and_our_job(tmp_path: Path) -> None:
    """Its configuration is valid with the mounted rules, and its scrape job equals the packaged one."""
    mounts = dict(volume.split(":")[:2] for volume in compose()["prometheus"]["volumes"])
    for here, there in mounts.items():
        (tmp_path / Path(there).name).write_text((DOCKER / here).read_text())
    done = promtool(tmp_path, "check", "config", "prometheus.yml")
    assert done.returncode == 0, done.stderr
    ours = yaml.safe_load((tmp_path / "prometheus.yml").read_text())["scrape_configs"]
    assert ours == yaml.safe_load(scrape(Names(), ["web:8000"]))["scrape_configs"]


def test_grafana_of_compose_has_our_dashboard_and_prometheus() -> None:
    """The dashboard is mounted in the provider's folder, and the data source is the Prometheus service."""
    places = [volume.split(":")[1] for volume in compose()["grafana"]["volumes"]]
    provider = yaml.safe_load((DOCKER / "grafana" / "dashboards.yml").read_text())["providers"][0]
    source = yaml.safe_load((DOCKER / "grafana" / "datasources.yml").read_text())["datasources"][0]
    assert f"{provider['options']['path']}/celery.json" in places
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
