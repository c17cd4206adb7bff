"""Every code block in the documentation runs."""

import os
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from ringfence.dsl.diagnostic import draw
from ringfence.engine.seams.plain import plain_ceilings
from ringfence.engine.seams.settings import Settings
from tests import walls
from tests.docs.pages import KNOWN, ROOT, Block, blocks, lasting, load_block, pages, printed, program

ALL = [block for page in pages() for block in blocks(page)]


def of_kind(kind: str) -> list[Block]:
    return [block for block in ALL if block.kind == kind]


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.name)
def test_every_block_says_what_it_is_so_that_none_goes_untested(block: Block) -> None:
    assert block.kind in KNOWN, f"{block.name}: a block of kind {block.kind!r} is run by no test"


POLICIES = [block for block in of_kind("fence") if "part" not in block.info]


@pytest.mark.parametrize("block", POLICIES, ids=lambda block: block.name)
def test_a_policy_block_gives_exactly_the_reports_it_announces(block: Block) -> None:
    loaded = load_block(block)
    codes = [diagnostic.code for diagnostic in loaded.diagnostics]
    wanted = [block.info["code"]] if "code" in block.info else []
    assert codes == wanted, draw(loaded.diagnostics)


DRAWN = [
    (above, block)
    for page in pages()
    for above, block in pairwise(blocks(page))
    if block.info.get("of") == "above" and above.kind == "fence"
]


@pytest.mark.parametrize(("policy", "shown"), DRAWN, ids=[shown.name for _, shown in DRAWN])
def test_a_report_below_a_policy_is_what_is_drawn_of_it(policy: Block, shown: Block) -> None:
    assert shown.code.rstrip("\n") == draw(load_block(policy).diagnostics)


RUNNING_PAGES = sorted({block.page for block in ALL if block.runs})


@pytest.mark.parametrize("page", RUNNING_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_runs_from_top_to_bottom_and_prints_what_it_shows(page: Path, tmp_path: Path) -> None:
    if any("isolate" in block.code for block in blocks(page) if block.kind == "python"):
        walls.needed()
    for block in blocks(page):
        if "title" in block.info:
            (tmp_path / block.info["title"]).write_text(block.code, encoding="utf-8")
    (tmp_path / "page.py").write_text(program(page), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-W", "error", "page.py"],
        cwd=tmp_path,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    said = printed(ran.stdout)
    for above, block in pairwise(blocks(page)):
        if block.info.get("of") == "above" and above.kind != "fence":
            assert above.runs, f"{block.name} shows the output of a block that does not run"
            _compare(block, said[above.name])


def _environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RINGFENCE_")}
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    return {**clean, "PYTHONPATH": path, "NO_COLOR": "1"}


def _compare(block: Block, output: str) -> None:
    """Check shown against printed lines; `...` may stand for any number of them."""
    left = [line for line in map(lasting, output.splitlines()) if line]
    skipping = False
    for line in filter(None, map(lasting, block.code.splitlines())):
        if line == "...":
            skipping = True
            continue
        while skipping and left and left[0] != line:
            left.pop(0)
        assert left and left[0] == line, f"{block.name}: {line!r} was not printed; it was:\n{output}"
        left.pop(0)
        skipping = False
    assert skipping or not left, f"{block.name}: this was printed too: {left}"


def _commands(first: str) -> list[tuple[str, str]]:
    lines = [(block.name, line) for block in of_kind("sh") for line in block.code.splitlines()]
    return [(name, line.split()[1]) for name, line in lines if line.startswith(f"{first} ")]


def test_every_make_target_in_the_documentation_exists() -> None:
    targets = {line.split(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ":" in line}
    missing = [(name, target) for name, target in _commands("make") if target not in targets]
    assert not missing


def test_every_command_in_the_documentation_exists() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "ringfence", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=_environment(),
    ).stdout
    missing = [(name, command) for name, command in _commands("ringfence") if command not in shown.split()]
    assert not missing


@pytest.mark.parametrize("block", of_kind("toml"), ids=lambda block: block.name)
def test_a_settings_block_is_accepted(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "ringfence.toml"
    path.write_text(block.code, encoding="utf-8")
    tomllib.loads(block.code)
    assert plain_ceilings(path) == Settings.load(path).ceilings == ()  # also at first sight


LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_page_leads_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        file = (page.parent / target) if target else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
            assert anchor in anchors, f"{page.name} links to {target}#{anchor}"
