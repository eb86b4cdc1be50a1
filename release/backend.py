"""setuptools' build backend, with three changes.

- The same sources give the same sdist. That of setuptools contains the time of the
  build, and owner and permissions of the checkout.
- The wheel contains no files of earlier builds: ``build/lib`` is deleted first.
- If ``url`` is set in ``setup.cfg``, relative links in the description become absolute.
  A package index shows the README without the repository.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

from links import in_project, project_url, rewrite
from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)
from setuptools.command.egg_info import egg_info

__all__ = [
    "EggInfo",
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]


class EggInfo(egg_info):
    """Write the metadata of sdist, wheel and editable install (``cmdclass`` in ``setup.cfg``)."""

    def finalize_options(self) -> None:
        """Make the relative links of the long description absolute."""
        super().finalize_options()
        metadata = self.distribution.metadata
        if project_url():
            metadata.long_description = rewrite(metadata.long_description or "", in_project)


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """Build the sdist; if ``SOURCE_DATE_EPOCH`` is set, it is the time of all files."""
    name: str = build_meta.build_sdist(sdist_directory, config_settings)
    if "SOURCE_DATE_EPOCH" in os.environ:
        _normalise(Path(sdist_directory, name), int(os.environ["SOURCE_DATE_EPOCH"]))
    return name


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """Build the wheel, without files of earlier builds."""
    shutil.rmtree(Path("build", "lib"), ignore_errors=True)
    name: str = build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
    return name


def _normalise(archive: Path, epoch: int) -> None:
    """Rewrite an sdist: files sorted, without owner, with the mode 644 or 755.

    Arguments:
        archive: path of the sdist.
        epoch: time of all files, in seconds since the epoch.
    """
    content = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted((member for member in old if member.isfile()), key=lambda member: member.name):
            entry = tarfile.TarInfo(member.name)
            entry.size, entry.mtime = member.size, epoch
            entry.mode = 0o755 if member.mode & 0o100 else 0o644
            new.addfile(entry, old.extractfile(member))
    archive.write_bytes(gzip.compress(content.getvalue(), mtime=epoch))
