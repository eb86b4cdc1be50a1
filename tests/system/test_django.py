"""The example Django project on gunicorn, with a real worker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import pytest

from tests.support.exposition import Exposition
from tests.support.processes import ROOT, Process, celery_environ, wait_until
from tests.support.servers import RedisServer

pytestmark = pytest.mark.measured

PROJECT = ROOT / "examples" / "django_project"


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def get(url: str, **headers: str) -> tuple[int, str]:
    """Return status and text, without following redirects."""
    try:
        with build_opener(_NoRedirect).open(Request(url, headers=headers), timeout=15) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def manage(broker_url: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run ``manage.py``."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT,
        env=celery_environ(broker_url, environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Project(NamedTuple):
    """The project with a worker and gunicorn.

    Attributes:
        url: address of the web server.
        broker_url: URL of its broker, a Redis.
    """

    url: str
    broker_url: str


@pytest.fixture(scope="module")
def django_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Start the project once for all tests of this file that need its processes."""
    folder = tmp_path_factory.mktemp("project")
    with ExitStack() as stack:
        redis = RedisServer(folder)
        stack.callback(redis.stop)
        environ = celery_environ(redis.url, {"PYTHONPATH": str(PROJECT)})
        command = [sys.executable, "-m", "celery", "-A", "project", "worker", "-c", "1", "-n", "django@testhost"]
        worker = Process([*command, "--without-mingle", "--loglevel=info"], folder / "worker.log", environ)
        stack.callback(worker.end, signal.SIGKILL)
        command = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", "project.wsgi", "--threads", "2"]
        web = Process(command, folder / "web.log", environ)
        stack.callback(web.end)
        worker.wait_for(r"testhost ready\.")
        yield Project(web.wait_for(r"Listening at: (http://[^ ]+)").group(1), redis.url)
    assert [*worker.warnings(), *web.warnings()] == []


def test_the_endpoints_work_with_strict_django_settings(django_project: Project) -> None:
    """With SSL redirect, CSRF and APPEND_SLASH on, the endpoints answer 200 without a redirect."""
    assert get(django_project.url + "/")[0] == 301
    for path in ("health", "health/", "health/live/", "tasks/", "stats"):
        assert get(f"{django_project.url}/api/celery/{path}")[0] == 200
    assert json.loads(get(f"{django_project.url}/api/celery/health/")[1])["workers"]["active_workers"] == [
        "django@testhost"
    ]


def test_jobs_of_the_project_are_counted_under_its_namespace(django_project: Project) -> None:
    """``task_cls=MonitoredTask`` counts every task, under the namespace of ``CELERY_HEALTH``."""
    code = "from project.celery import *; add.delay(1, 2, customer_id='x'); divide.delay(1, 0)"
    environ = celery_environ(django_project.broker_url, {"PYTHONPATH": str(PROJECT)})
    subprocess.run([sys.executable, "-c", code], env=environ, timeout=30, check=True)
    job = "project_background_job"
    wait_until(lambda: Exposition.read(django_project.url).total(f"{job}_failed_total") == 1, "the failure is counted")
    found = Exposition.read(django_project.url)
    assert found.get(f"{job}_completed_total", task_name="project.celery.add", customer_id="x") == 1
    failed = {"task_name": "project.celery.divide", "error_type": "ZeroDivisionError", "customer_id": "unknown"}
    assert found.get(f"{job}_failed_total", **failed) == 1


@pytest.mark.slow
def test_script_name_is_honoured(redis: RedisServer, tmp_path: Path, started: list[Process]) -> None:
    """With a ``SCRIPT_NAME``, the endpoints have the same paths below it."""
    environ = celery_environ(redis.url, {"PYTHONPATH": str(PROJECT), "SCRIPT_NAME": "/shop"})
    web = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", "project.wsgi"]
    started.append(Process(web, tmp_path / "web.log", environ))
    url = started[0].wait_for(r"Listening at: (http://[^ ]+)").group(1)
    assert get(f"{url}/shop/api/celery/health/live/") == (200, '{"status": "alive"}\n')


def test_the_management_command_prints_the_status(django_project: Project) -> None:
    """``manage.py celery_health`` prints the same lines and JSON as ``flask celery-health``."""
    broker_url = django_project.broker_url
    done = manage(broker_url, "celery_health")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "HEALTHY: 1 worker answers, no queue is longer than 1000"
    assert json.loads(manage(broker_url, "celery_health", "--format", "json").stdout)["status"] == "healthy"
    assert "django@testhost" in manage(broker_url, "celery_health", "--verbose").stdout


def test_the_management_command_has_documented_exit_codes(redis: RedisServer) -> None:
    """The exit code is 1 without workers and 2 for wrong usage."""
    assert manage(redis.url, "celery_health", "--timeout", "0.3").returncode == 1
    done = manage(redis.url, "celery_health", "--timeout", "never")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_the_system_check_names_a_wrong_setting(redis: RedisServer) -> None:
    """``manage.py check`` fails and names the key and the value."""
    assert manage(redis.url, "check").returncode == 0
    done = manage(redis.url, "check", CELERY_HEALTH_MIN_WORKERS="few")
    assert done.returncode == 1
    assert "(celery_health.E001) CELERY_HEALTH_MIN_WORKERS='few' is not allowed" in done.stderr


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ('["a"]', "CELERY_HEALTH must be a mapping of settings such as {'min_workers': 2}, not list"),
        ('{"app": "no.such.app"}', "CELERY_HEALTH['app']='no.such.app' is no Celery app that can be imported"),
        ('{"app": 3}', "CELERY_HEALTH['app']=3 is no Celery app that can be imported: give its dotted path"),
        ('{"min_worker": 3}', "min_worker is no setting (did you mean min_workers?)"),
    ],
)
def test_the_system_check_explains_a_wrong_celery_health(tmp_path: Path, value: str, sentence: str) -> None:
    """``manage.py check`` explains each kind of wrong ``CELERY_HEALTH``."""
    (tmp_path / "wrong.py").write_text(f"from project.settings import *\nCELERY_HEALTH = {value}\n")
    done = manage("memory://", "check", DJANGO_SETTINGS_MODULE="wrong", PYTHONPATH=str(tmp_path))
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert f"(celery_health.E001) {sentence}" in done.stderr


@pytest.mark.slow
def test_the_management_command_takes_djangos_own_options() -> None:
    """The command accepts the standard options of Django; only those for colour change the output."""
    standard = ["--no-color", "--traceback", "--verbosity", "2", "--skip-checks", "--settings", "project.settings"]
    done = manage("memory://", "celery_health", "--timeout", "0.1", *standard)
    assert (done.returncode, done.stderr, done.stdout.split(":")[0]) == (1, "", "UNHEALTHY")
    done = manage("memory://", "celery_health", "--timeout", "0.1", "--force-color", "--pythonpath", ".")
    assert done.stdout.startswith("\x1b[31m")
    assert "--watch [SECONDS]" in manage("memory://", "celery_health", "--help").stdout


@pytest.mark.slow
def test_nagios_gets_exit_code_3_for_wrong_usage() -> None:
    """With ``--nagios``, wrong usage prints one line and exits with 3, as the other two commands do."""
    for wrong in (["--timeout", "never"], ["--nothing"], ["--format", "json"]):
        done = manage("memory://", "celery_health", "--nagios", *wrong)
        assert (done.returncode, done.stdout.count("\n"), done.stderr) == (3, 1, "")
        assert done.stdout.startswith("CELERY UNKNOWN - ")


CALLS = """
import io, json, django
django.setup()
from django.core.management import call_command, CommandError
def call(*arguments, **options):
    out = io.StringIO()
    try:
        call_command("celery_health", *arguments, stdout=out, **options)
        return 0, out.getvalue()
    except SystemExit as end:
        return end.code, out.getvalue()
code, text = call(verbose=True, timeout=5)
assert code == 0 and text.startswith("HEALTHY") and "WORKER " in text, text
code, text = call("--format=json", verbose=True)
assert code == 0 and json.loads(text)["running"] == [], text
code, text = call(format="json", timeout=5.0)
assert code == 0 and json.loads(text)["status"] == "healthy", text
assert call(nagios=True)[1].startswith("CELERY OK")
assert call(format="xml")[0] == 2
assert call(watch="5")[0] == call(timeout="soon")[0] == 2
assert call(nagios=True, format="json")[0] == 3
try:
    call_command("celery_health", "--nothing")
except CommandError as error:
    assert "--nothing" in str(error)
"""


@pytest.mark.slow
def test_call_command_takes_every_option(django_project: Project) -> None:
    """``call_command`` accepts options as arguments and keywords, writes to ``stdout``, and returns on success."""
    environ = celery_environ(
        django_project.broker_url, {"PYTHONPATH": str(PROJECT), "DJANGO_SETTINGS_MODULE": "project.settings"}
    )
    done = subprocess.run([sys.executable, "-c", CALLS], env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
