"""The language page and the pages about errors say every diagnostic there is."""

import re
from pathlib import Path

import pytest

from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.source import Source, Span
from tests.docs.pages import ROOT, blocks, table

LANGUAGE = ROOT / "docs" / "language.md"
ERRORS = ROOT / "docs" / "errors"
INDEX = ERRORS / "index.md"
PAGES = sorted(page for page in ERRORS.glob("*.md") if page != INDEX)


def reported() -> list[str]:
    """Return every code that the code base names."""
    return sorted(
        {
            code
            for file in (ROOT / "dsl").rglob("*.py")
            for code in re.findall(r'"([EW][0-9]{3})"', file.read_text(encoding="utf-8"))
        }
    )


def linked(cell: str, folder: str) -> str:
    """Return the code in a cell of a table, which must lead to its page."""
    code = cell[1:5]
    assert cell == f"[{code}]({folder}{code}.md)"
    return code


def test_the_table_of_diagnostics_is_that_of_the_code() -> None:
    assert [linked(cell, "errors/") for cell, _ in table(LANGUAGE, "Diagnostics")] == reported()


def test_every_diagnostic_of_the_code_has_a_page_and_no_other() -> None:
    assert [page.stem for page in PAGES] == reported()


def test_the_index_names_every_page_by_its_title() -> None:
    rows = table(INDEX, "Errors") + table(INDEX, "Warnings")
    titles = [page.read_text(encoding="utf-8").split("\n", 1)[0].replace("`", "") for page in PAGES]
    assert [f"# {linked(cell, '')}: {title}" for cell, title in rows] == titles


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_the_mistake_the_report_and_the_mended_text(page: Path) -> None:
    found = blocks(page)
    wrong = [at for at, block in enumerate(found) if "code" in block.info]
    assert wrong and {found[at].info["code"] for at in wrong} == {page.stem}
    assert all(found[at + 1].info == {"of": "above"} for at in wrong)
    assert any(block.kind == "fence" and not {"code", "part"} & set(block.info) for block in found)


def test_a_report_names_its_page() -> None:
    for page in PAGES:
        report = Diagnostic(page.stem, "m", Span(0, 1), Source("x", "y"))
        assert ROOT / report.page == page
