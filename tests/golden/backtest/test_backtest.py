"""What a backtest says is what is stored, to the letter; `python -m tests.golden.rewrite` writes it anew."""

import pytest

from tests.golden.backtest.outline import CASES, HERE, told


@pytest.mark.parametrize("case", CASES)
def test_a_backtest_says_what_its_golden_file_says(case: str) -> None:
    assert told(case) == (HERE / f"{case}.golden").read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in HERE.glob("*.golden")} == set(CASES)
