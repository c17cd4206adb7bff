"""What models are told is exactly as stored; `python -m tests.golden.rewrite` stores anew."""

from pathlib import Path

import pytest

from tests.golden.rewrite import signed
from tests.golden.signatures.outline import HERE, told


@pytest.mark.parametrize("path", signed(), ids=lambda path: path.stem)
def test_what_a_model_is_told_is_as_stored(path: Path) -> None:
    assert told(path) == (HERE / f"{path.stem}.golden").read_text(encoding="utf-8")
