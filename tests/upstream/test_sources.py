"""Where the suites come from: the source distributions of what is installed."""

import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.upstream.sources import SourceError, source_of
from tests.upstream.suites import SUITES, Suite

STEM = f"pluggy-{version('pluggy')}"


def packed(scratch: Path, *files: str) -> None:
    inside = scratch / "made" / STEM
    for name in files:
        (inside / name).parent.mkdir(parents=True, exist_ok=True)
        (inside / name).write_text("", encoding="utf-8")
    with tarfile.open(scratch / f"{STEM}.tar.gz", "w:gz") as archive:
        archive.add(inside, STEM)


def test_a_distribution_that_is_there_is_unpacked_anew_without_a_download(tmp_path: Path) -> None:
    packed(tmp_path, "tests/test_a.py")
    (tmp_path / STEM).mkdir()
    (tmp_path / STEM / "left_over.py").write_text("", encoding="utf-8")
    found = source_of(Suite("s", "pluggy", "tests", {}), tmp_path)
    assert (found / "tests" / "test_a.py").exists()
    assert not (found / "left_over.py").exists()


def test_only_the_tests_are_used_of_a_package_that_would_shadow_the_installed_one(tmp_path: Path) -> None:
    packed(tmp_path, "tests/test_a.py", "pluggy/__init__.py")
    found = source_of(Suite("s", "pluggy", "tests", {}, alone=True), tmp_path)
    assert sorted(file.name for file in found.iterdir()) == ["pytest.ini", "tests"]


def test_a_distribution_without_the_tests_is_refused(tmp_path: Path) -> None:
    packed(tmp_path, "README")
    with pytest.raises(SourceError, match="has no `tests`"):
        source_of(Suite("s", "pluggy", "tests", {}), tmp_path)


def test_tests_of_ours_are_copied_to_a_folder_of_their_own(tmp_path: Path) -> None:
    ours = next(suite for suite in SUITES if suite.folder)
    here = Suite("s", "pluggy", ours.tests, {}, alone=True, folder=ours.folder)
    assert (source_of(here, tmp_path) / ours.tests).exists()
