"""The sdist and the wheel: their files, metadata and requirements, and an installation without extras."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from email import message_from_string
from email.message import Message
from importlib.metadata import version
from pathlib import Path

import pytest
from celery import Celery

import celery_health_bp
from celery_health_bp import CeleryHealth, Settings
from tests.support.processes import ROOT

PACKAGE = ROOT / "celery_health_bp"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("package"),
    pytest.mark.skipif(not PACKAGE.exists(), reason="these tests run in tox's copy without the package"),
]

#: Generated files, and those of git.
NOT_SOURCES = (
    "__pycache__",
    "build",
    "dist",
    "site",
    "*.egg-info",
    ".git",
    ".tox",
    ".venv",
    ".bench",
    ".*_cache",
    ".coverage*",
)
NOT_SOURCES += (".hypothesis", "*.pyc")
EPOCH = "1700000000"
#: Prints those of its arguments that can be imported.
FOUND = "import sys; from importlib.util import find_spec; print(*(name for name in sys.argv[1:] if find_spec(name)))"
#: An application for ``celery -A missing``.
APP = """
from celery import Celery
from celery_health_bp import MonitoredTask
app = Celery("missing", broker={broker!r}, task_cls=MonitoredTask)
app.conf.celery_health = {{"metrics_store": {store!r}}}
"""


def build(folder: Path, sources: Path) -> dict[str, Path]:
    """Build sdist and wheel, each from these sources; return them by suffix."""
    command = [sys.executable, "-m", "build", "--sdist", "--wheel", "--outdir", str(folder / "dist"), str(sources)]
    environ = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    done = subprocess.run(command, env=environ, umask=0o022, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.suffix: path for path in (folder / "dist").iterdir()}


@pytest.fixture(scope="module")
def sdist_and_wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build both once, from a copy of the repository."""
    folder = tmp_path_factory.mktemp("first")
    ignored = shutil.ignore_patterns(*NOT_SOURCES)
    shutil.copytree(ROOT, folder / "sources", ignore=ignored, copy_function=shutil.copyfile)
    return build(folder, folder / "sources")


@pytest.fixture(scope="module")
def wheel(sdist_and_wheel: dict[str, Path]) -> Iterator[zipfile.ZipFile]:
    """Open the wheel."""
    with zipfile.ZipFile(sdist_and_wheel[".whl"]) as opened:
        yield opened


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """Return the wheel's METADATA."""
    return message_from_string(_text(wheel, "METADATA"))


def _text(wheel: zipfile.ZipFile, name: str) -> str:
    (path,) = (path for path in wheel.namelist() if path.endswith(f".dist-info/{name}"))
    return wheel.read(path).decode()


# -- files --


def test_the_wheel_contains_exactly_the_package(wheel: zipfile.ZipFile) -> None:
    """It has all files of the package's folder, with py.typed, Lua, JSON and YAML, and no others."""
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert held == {str(path.relative_to(ROOT)) for path in files}
    assert {Path(name).suffix for name in held} == {".py", ".typed", ".lua", ".json", ".yml"}


def test_the_sdist_contains_the_repository(sdist_and_wheel: dict[str, Path]) -> None:
    """It has all files of the repository, and no generated ones."""
    sources = sdist_and_wheel[".gz"].parent.parent / "sources"
    with tarfile.open(sdist_and_wheel[".gz"]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    made = {name for name in held if name == "PKG-INFO" or ".egg-info/" in name}
    files = {str(path.relative_to(sources)) for path in sources.rglob("*") if path.is_file()}
    assert held - made == {name for name in files if ".egg-info/" not in name and not name.startswith("build/")}


def test_builds_are_reproducible(sdist_and_wheel: dict[str, Path], tmp_path: Path) -> None:
    """Another copy of the sources gives the same hashes, and files of an earlier build are not packed."""
    sources = tmp_path / "copy"
    shutil.copytree(sdist_and_wheel[".whl"].parent.parent / "sources", sources, copy_function=shutil.copyfile)
    stale = sources / "build" / "lib" / "celery_health_bp" / "gone.py"
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.touch()
    again = build(tmp_path, sources)
    for end, path in sdist_and_wheel.items():
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(again[end].read_bytes()).digest(), end


def test_twine_finds_no_fault(sdist_and_wheel: dict[str, Path]) -> None:
    """twine accepts both files and their description."""
    twine_check(sdist_and_wheel)


def twine_check(files: dict[str, Path]) -> None:
    """Have twine read the metadata of sdist and wheel."""
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, files.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_links_of_the_description_are_relative_while_the_project_has_no_public_address(metadata: Message) -> None:
    """Without ``url`` in setup.cfg no address is invented: the description is README and changelog as they are."""
    description = metadata.get_payload()
    assert description == (ROOT / "README.md").read_text() + "\n" + (ROOT / "CHANGELOG.md").read_text()
    assert metadata["Home-page"] is None


def test_links_of_the_description_work_on_a_package_index(sdist_and_wheel: dict[str, Path], tmp_path: Path) -> None:
    """With ``url`` in setup.cfg every link of the description is absolute, in both files, and leads to a file."""
    sources, url = tmp_path / "copy", "https://git.example/group/celery_health_bp"
    shutil.copytree(sdist_and_wheel[".whl"].parent.parent / "sources", sources, copy_function=shutil.copyfile)
    setup = (sources / "setup.cfg").read_text()
    (sources / "setup.cfg").write_text(setup.replace("[metadata]\n", f"[metadata]\nurl = {url}\n"))
    built = build(tmp_path, sources)
    with zipfile.ZipFile(built[".whl"]) as wheel, tarfile.open(built[".gz"]) as sdist:
        texts = [_text(wheel, "METADATA")]
        texts += [sdist.extractfile(name).read().decode() for name in sdist.getnames() if name.endswith("/PKG-INFO")]  # type: ignore[union-attr]
    for text in texts:
        targets = re.findall(r"\]\(([^)]+)\)", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
        assert [target for target in targets if not re.match(r"https://|#", target)] == []
        ours = [target for target in targets if target.startswith(url)]
        paths = [target.removeprefix(url).partition("/HEAD/") for target in ours]
        assert {kind for kind, _, _ in paths} <= {"/blob", "/raw"}
        assert [path for _, _, path in paths if not (ROOT / path.partition("#")[0]).exists()] == []
        assert f"{url}/blob/HEAD/docs/README.md" in ours
    twine_check(built)


def test_entry_points_are_the_two_commands(wheel: zipfile.ZipFile) -> None:
    """The entry points are ``celery-health-assets`` and ``celery health``."""
    points = ConfigParser()
    points.read_string(_text(wheel, "entry_points.txt"))
    assert {group: dict(points[group]) for group in points.sections()} == {
        "console_scripts": {"celery-health-assets": "celery_health_bp.cli.assets:main"},
        "celery.commands": {"health": "celery_health_bp.cli.celery:health"},
    }


# -- metadata --


def test_the_metadata_name_licence_frameworks_and_pythons(metadata: Message) -> None:
    """The licence is an SPDX expression, and the classifiers name the tested Pythons and the frameworks."""
    classifiers = metadata.get_all("Classifier") or []
    assert (metadata["License-Expression"], metadata["Requires-Python"]) == ("MIT", ">=3.10")
    assert {f"Framework :: {name}" for name in ("Celery", "Django", "Flask")} <= set(classifiers)
    tested = re.findall(r"\bpy3(\d\d)\b", (ROOT / "tox.ini").read_text())
    pythons = {f"Programming Language :: Python :: 3.{minor}" for minor in tested or ("10", "11", "12", "13")}
    assert pythons == {name for name in classifiers if "Python :: 3." in name}
    assert "Typing :: Typed" in classifiers


def test_there_is_one_version(metadata: Message) -> None:
    """Metadata, ``__version__`` and the newest heading of the changelog have the same version."""
    newest = re.search(r"^## \[(\S+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert metadata["Version"] == celery_health_bp.__version__ == version("celery-health-bp") == newest[1]


def test_requirements_have_lower_bounds_only(metadata: Message) -> None:
    """No requirement has an upper bound."""
    wanted = [name for name in metadata.get_all("Requires-Dist") or [] if "extra" not in name]
    assert {re.match(r"[\w-]+", name)[0] for name in wanted} == {"celery", "flask", "marshmallow", "prometheus-client"}  # type: ignore[index]
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+", name) for name in wanted)


# -- installed without extras, as by users of RabbitMQ --


@pytest.fixture(scope="module")
def bare(sdist_and_wheel: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel without extras in a new environment; return its scripts."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*pip, str(sdist_and_wheel[".whl"])], check=True, timeout=100)
    return folder / "bin"


def run(*command: object, folder: Path) -> str:
    """Run a command in this folder; return its output and errors."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env=environ,
        timeout=60,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.stdout


def test_only_required_libraries_are_installed(bare: Path, tmp_path: Path) -> None:
    """Libraries of Redis, Django and the tests are not installed, and every public name can be imported."""
    extras = ("redis", "hiredis", "django", "gunicorn", "prometheus_flask_exporter", "pytest", "yaml")
    assert run(bare / "python", "-c", FOUND, "celery", "flask", *extras, folder=tmp_path).split() == ["celery", "flask"]
    everything = "from celery_health_bp import *; import celery_health_bp as c; print(c.__version__, len(c.__all__))"
    expected = f"{version('celery-health-bp')} {len(celery_health_bp.__all__)}"
    assert run(bare / "python", "-W", "error", "-c", everything, folder=tmp_path).strip() == expected


def test_the_commands_are_installed(bare: Path, tmp_path: Path) -> None:
    """``celery health`` tries to connect to RabbitMQ, and ``celery-health-assets`` prints packaged files."""
    (tmp_path / "missing.py").write_text(APP.format(broker="amqp://127.0.0.1:1//", store="auto"))
    assert run(bare / "celery", "-A", "missing", "health", folder=tmp_path).startswith(
        "UNHEALTHY: Broker amqp://127.0.0.1:1 refused the connection"
    )
    assert "CeleryWorkersDown" in run(bare / "celery-health-assets", "alerts", folder=tmp_path)


@pytest.mark.parametrize(
    ("broker", "store", "command", "extra"),
    [
        ("redis://127.0.0.1:1/0", "auto", "celery -A missing health", "redis"),
        ("amqp://127.0.0.1:1//", "redis://127.0.0.1:1/0", "celery -A missing worker --pool solo", "redis"),
        ("amqp://127.0.0.1:1//", "auto", "python -c 'import celery_health_bp.django'", "django"),
    ],
    ids=["broker", "store", "django"],
)
def test_a_missing_extra_is_named_with_its_command(
    broker: str, store: str, command: str, extra: str, bare: Path, tmp_path: Path
) -> None:
    """The error of a missing library has the command that installs it."""
    (tmp_path / "missing.py").write_text(APP.format(broker=broker, store=store))
    output = run("sh", "-c", f"PATH={bare}:$PATH; {command}", folder=tmp_path)
    assert f"pip install 'celery-health-bp[{extra}]'" in output


def test_a_missing_library_of_another_broker_is_named() -> None:
    """The report for a transport without its library names the extra of kombu."""
    health = CeleryHealth(
        lambda: Celery("missing", broker="mongodb://key:secret@localhost"), Settings(timeout_seconds=1)
    )
    report = health.check()
    assert report.error == "The library for mongodb:// brokers is not installed"
    assert report.recommendations == ("pip install 'kombu[mongodb]'",)
