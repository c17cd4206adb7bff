"""The front says of each text exactly what is stored; `python -m tests.golden.rewrite` stores anew."""

from pathlib import Path

import pytest

from tests.golden.rewrite import golden, inputs, stored


@pytest.mark.parametrize("path", inputs(), ids=lambda path: path.stem)
def test_tree_and_reports_are_as_stored(path: Path) -> None:
    assert golden(path) == stored(path).read_text(encoding="utf-8")
