"""The nearest word: what a misspelt one most likely stands for."""

import pytest

from ringfence.dsl.suggest import did_you_mean


@pytest.mark.parametrize(
    ("written", "legal", "meant"),
    [
        ("alow", ["allow", "ask", "deny"], "allow"),
        ("munday", ["monday", "sunday", "friday"], "monday"),
        ("int", ["text", "integer", "number"], "integer"),
        ("TABELS", ["tables", "hosts"], "tables"),
    ],
)
def test_the_nearest_word_is_offered(written: str, legal: list[str], meant: str) -> None:
    assert did_you_mean(written, legal) == f"did you mean `{meant}`?"


@pytest.mark.parametrize(
    ("written", "legal"),
    [
        ("qwerty", ["allow", "ask"]),
        ("no", ["notice"]),
        ("send", ["send_message_now", "send_email_at_once"]),
        ("x" * 65, ["x" * 64]),
    ],
)
def test_where_no_word_is_near_or_several_begin_so_none_is_offered(written: str, legal: list[str]) -> None:
    assert did_you_mean(written, legal) == ""
