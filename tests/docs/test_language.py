"""The language page says every diagnostic there is."""

import re

from tests.docs.pages import ROOT, table

PAGE = ROOT / "docs" / "language.md"


def test_the_table_of_diagnostics_is_that_of_the_code() -> None:
    given = {
        code
        for file in (ROOT / "dsl").rglob("*.py")
        for code in re.findall(r'"([EW][0-9]{3})"', file.read_text(encoding="utf-8"))
    }
    described = [code for code, _ in table(PAGE, "Diagnostics")]
    assert described == sorted(given)
