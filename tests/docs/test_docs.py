"""Every code block in the documentation runs."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ringfence.dsl.diagnostic import draw
from ringfence.dsl.load import load_text
from tests.docs.pages import KNOWN, ROOT, Block, blocks, pages, policy_text, prelude

ALL = [block for page in pages() for block in blocks(page)]


def of_kind(kind: str) -> list[Block]:
    return [block for block in ALL if block.kind == kind]


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.name)
def test_every_block_says_what_it_is_so_that_none_goes_untested(block: Block) -> None:
    assert block.kind in KNOWN, f"{block.name}: a block of kind {block.kind!r} is run by no test"


@pytest.mark.parametrize("block", of_kind("fence"), ids=lambda block: block.name)
def test_a_policy_block_gives_exactly_the_reports_it_announces(block: Block) -> None:
    loaded = load_text(policy_text(block), block.info.get("title", block.name))
    codes = [diagnostic.code for diagnostic in loaded.diagnostics]
    wanted = [block.info["code"]] if "code" in block.info else []
    assert codes == wanted, draw(loaded.diagnostics)


PYTHON_PAGES = sorted({block.page for block in of_kind("python")})


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    script = [prelude(page, "python")]
    for block in blocks(page):
        if "title" in block.info:
            (tmp_path / block.info["title"]).write_text(block.code, encoding="utf-8")
        if block.kind == "python":
            script.append(f"\n# {block.name}\n{block.code}")
    (tmp_path / "page.py").write_text("".join(script), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-W", "error", "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr


def _commands(first: str) -> list[tuple[str, str]]:
    lines = [(block.name, line) for block in of_kind("sh") for line in block.code.splitlines()]
    return [(name, line.split()[1]) for name, line in lines if line.startswith(f"{first} ")]


def test_every_make_target_in_the_documentation_exists() -> None:
    targets = {line.split(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ":" in line}
    missing = [(name, target) for name, target in _commands("make") if target not in targets]
    assert not missing


def test_every_command_in_the_documentation_exists() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "ringfence", "--help"], capture_output=True, text=True, check=True
    ).stdout
    missing = [(name, command) for name, command in _commands("ringfence") if command not in shown.split()]
    assert not missing


@pytest.mark.parametrize("block", of_kind("toml"), ids=lambda block: block.name)
def test_a_settings_block_is_accepted(block: Block, tmp_path: Path) -> None:
    from ringfence.engine.seams.settings import Settings

    path = tmp_path / "ringfence.toml"
    path.write_text(block.code, encoding="utf-8")
    tomllib.loads(block.code)
    Settings.load(path, {})
