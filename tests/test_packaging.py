"""The distribution ships one import package, all of it, and nothing else; imports stay light."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from ringfence.cli.examination import EXTRAS

ROOT = Path(__file__).parents[1]
FOLDERS = ("adapters", "dsl", "engine", "grammar", "plugins")
HEAVY = (
    *("asyncio", "jinja2", "langchain_core", "lark", "opentelemetry.sdk", "pluggy", "pydantic", "sqlite3"),
    *("requests", "rich", "sqlite3"),
)


def run(*command: str | Path, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", *command], capture_output=True, text=True, check=False, cwd=cwd, timeout=240
    )


def loaded_by(code: str) -> set[str]:
    """Return the names among HEAVY that a fresh interpreter has loaded after `code`."""
    answer = run("-c", f"import sys\n{code}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])")
    assert answer.returncode == 0, answer.stderr
    return set(answer.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_root_folder_is_linked_into_the_package(folder: str) -> None:
    assert (ROOT / "src/ringfence" / folder).resolve() == ROOT / folder, (
        "the links in src/ringfence are missing: git config core.symlinks true && git checkout -- src"
    )


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_root_folder_can_be_imported_by_its_bare_name(folder: str, tmp_path: Path) -> None:
    code = f"import importlib.util as u, sys; sys.exit(u.find_spec({folder!r}) is not None)"
    assert run("-c", code, cwd=tmp_path).returncode == 0


@pytest.fixture(scope="session")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Build the wheel as a release does and return the names in it, without the metadata."""
    out = tmp_path_factory.mktemp("wheel")
    built = run("-m", "hatchling", "build", "--target", "wheel", "--directory", out)
    assert built.returncode == 0, built.stderr
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def sources() -> set[str]:
    """Return every file that the package is made of, as it is named in a wheel."""
    inside = {
        f"ringfence/{path.relative_to(ROOT)}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    package = ROOT / "src/ringfence"
    rooms = [path for path in package.iterdir() if path.name not in FOLDERS]
    files = [
        path for room in rooms for path in ([room] if room.is_file() else room.rglob("*")) if path.is_file()
    ]
    return inside | {
        f"ringfence/{path.relative_to(package)}" for path in files if "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_the_package(wheel_names: set[str]) -> None:
    assert not sources() - wheel_names


def test_the_wheel_holds_the_grammar_and_the_marker_of_types(wheel_names: set[str]) -> None:
    assert {
        "ringfence/grammar/fence.lark",
        "ringfence/grammar/fence.tables.json",
        "ringfence/py.typed",
    } <= wheel_names


def test_the_wheel_holds_what_a_page_is_drawn_with(wheel_names: set[str]) -> None:
    assert {"ringfence/cli/page/page.html", "ringfence/cli/page/page.css"} <= wheel_names


def test_the_wheel_has_one_top_level_name(wheel_names: set[str]) -> None:
    assert {name.split("/")[0] for name in wheel_names} == {"ringfence"}


def test_the_type_checker_sees_into_the_linked_folders(tmp_path: Path) -> None:
    """A green checker that sees nothing is the danger: the seeded error must be reported, and only it."""
    answer = run("-m", "mypy", "--cache-dir", tmp_path / "cache", "tests/typing/seeded_error.py")
    errors = [line for line in answer.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 1 and "seeded_error.py" in errors[0] and "[arg-type]" in errors[0], answer.stdout


def test_importing_the_package_loads_no_framework_database_or_parser() -> None:
    assert not loaded_by("import ringfence") & {
        "langchain_core",
        "pydantic",
        "sqlite3",
        "lark",
        "rich",
    }


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_the_command_line_says_version_and_help_without_loading_anything_heavy(option: str) -> None:
    code = f"from ringfence.__main__ import main\nassert main([{option!r}]) == 0"
    assert loaded_by(code) == set()


def test_every_entry_point_of_the_distribution_names_something_that_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["scripts"], *project["entry-points"].values()]
    for target in [target for group in groups for target in group.values()]:
        module, _, name = target.partition(":")
        assert run("-c", f"import {module} as m; m.{name or '__name__'}").returncode == 0, target


def test_ci_runs_every_check_and_stops_at_the_first_that_fails() -> None:
    assert os.access(ROOT / ".ci/run", os.X_OK)
    script = (ROOT / ".ci/run").read_text("utf-8")
    assert "set -euo pipefail" in script and script.rstrip().endswith("make check")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    planned = subprocess.run(
        ["make", "--dry-run", "check"], cwd=ROOT, env=clean, capture_output=True, text=True, check=True
    ).stdout
    steps = ["ruff format --check", "ruff check", "/mypy", "/lint-imports", "-m pytest"]
    places = [planned.index(step) for step in steps]
    assert places == sorted(places)
    assert "|| true" not in planned


def test_doctor_knows_what_every_extra_brings() -> None:
    """An extra is for users: `all` has each of them, the others are for work on the product itself."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    named = everything.removeprefix("ringfence[").removesuffix("]").split(",")
    assert list(EXTRAS) == named
    for extra, distributions in EXTRAS.items():
        brought = {re.split("[<>=;\\[ ]", wanted)[0] for wanted in extras[extra]}
        assert brought <= set(distributions), extra
