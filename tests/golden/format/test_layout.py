"""Texts are laid out exactly as stored; `python -m tests.golden.rewrite` stores anew."""

from pathlib import Path

import pytest

from ringfence.dsl.format import format_text
from ringfence.dsl.format.layout import WIDTH
from tests.golden.rewrite import FORMAT, laid_out, layouts


@pytest.mark.parametrize("path", layouts(), ids=lambda path: path.stem)
def test_the_layout_is_as_stored(path: Path) -> None:
    assert laid_out(path) == (FORMAT / f"{path.stem}.golden").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", layouts(), ids=lambda path: path.stem)
def test_what_is_laid_out_stays_so(path: Path) -> None:
    text = laid_out(path)
    assert format_text(text).text == text
    assert all(len(line) <= WIDTH for line in text.splitlines())
