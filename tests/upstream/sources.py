"""The suites themselves: downloaded for the versions that are installed, unpacked, and never committed."""

import re
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

from tests.upstream.suites import Suite

HERE = Path(__file__).parent
_INI = "[pytest]\nasyncio_mode = auto\npython_files = test_*.py standard_*.py\n"


class SourceError(Exception):
    """A source distribution could not be had."""


def source_of(suite: Suite, scratch: Path) -> Path:
    """Return the folder that pytest is started in.

    Raises:
        SourceError: The distribution could not be downloaded, or has no tests.
    """
    found = f"{suite.package}-{version(suite.package)}"
    if suite.folder is not None:
        return _tests_alone(HERE / suite.folder, scratch / f"{found}-{suite.folder}")
    unpacked = _unpacked(suite.package, scratch)
    if not (unpacked / suite.tests).exists():
        raise SourceError(f"{found} has no `{suite.tests}` in its source distribution")
    return _tests_alone(unpacked / "tests", scratch / f"{found}-tests") if suite.alone else unpacked


def _tests_alone(tests: Path, folder: Path) -> Path:
    """Return a folder with nothing but the tests, so that they import the installed package."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tests, folder / "tests")
    (folder / "pytest.ini").write_text(_INI, encoding="utf-8")
    return folder


def _unpacked(package: str, scratch: Path) -> Path:
    stem = f"{re.sub('[-_.]+', '_', package)}-{version(package)}"
    archive = scratch / f"{stem}.tar.gz"
    if not archive.exists():
        _download(package, scratch)
    if not archive.exists():
        raise SourceError(f"{package} {version(package)} has no source distribution named `{archive.name}`")
    shutil.rmtree(scratch / stem, ignore_errors=True)
    with tarfile.open(archive) as packed:
        packed.extractall(scratch, filter="data")
    return scratch / stem


def _download(package: str, scratch: Path) -> None:
    wanted = f"{package}=={version(package)}"
    scratch.mkdir(parents=True, exist_ok=True)
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
    done = subprocess.run(
        [*pip, "--no-deps", "--no-binary", package, "--dest", str(scratch), wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["pip said nothing"]
        raise SourceError(f"`{wanted}` could not be downloaded: {last[0]}")
