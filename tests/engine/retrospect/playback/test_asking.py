"""Two requests to a model are compared, and their differences are shown in lines that no text can forge."""

from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.plan import Json
from ringfence.engine.retrospect.playback.asking import Asking, diff, differs
from ringfence.engine.retrospect.playback.hidden import fits

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def said(content: Json, who: str = "human") -> dict[str, Json]:
    return {"from": who, "content": content}


@given(JSON)
def test_a_value_fits_itself_and_a_mark_fits_anything(value: Json) -> None:
    assert fits(value, value) and fits("[redacted]", value)
    assert not fits([value, 1], [value, 2])


def test_what_stands_around_a_mark_must_be_there() -> None:
    assert fits("a [redacted] b [redacted] c", "a x b y c")
    for came in ("a x b y", "x b y c", "a x y c", "a b c", "", None, 3):
        assert not fits("a [redacted] b [redacted] c", came)
    assert not fits("ab[redacted]ba", "aba"), "no character stands for two"
    assert not fits("[redacted]a", "[redacted]b")


@given(JSON, JSON)
def test_requests_differ_exactly_where_their_messages_do(one: Json, other: Json) -> None:
    then, now = Asking([said("x"), said(one)], None), Asking([said("x"), said(other)], None)
    if "[redacted]" not in repr(one):
        assert (differs(then, now) == ()) is fits(one, other)
        assert (diff(then, now) == "") is fits(one, other)


def test_each_part_is_named_and_what_the_record_does_not_say_is_not_compared() -> None:
    tools: list[dict[str, Json]] = [
        {"name": "add", "description": "Add.", "parameters": {"properties": {"a": 1}}}
    ]
    then = Asking([said("x")], tools, {"temperature": 1, "stop": ["a"], "seed": 4}, frozenset({"stop"}))
    assert differs(then, Asking([said("x")], tools, {"stop": ["a"]})) == ()
    assert differs(then, Asking([said("x")], tools, {})) == ("parameters",)
    assert differs(then, Asking([said("y")], [], {"temperature": 2})) == ("messages", "tools", "parameters")
    assert differs(Asking([], None), Asking([], tools)) == ()
    shown = diff(then, Asking([said("y")], [], {"temperature": 2})).splitlines()
    assert {"-  x", "+  y", "-tool add:", "-temperature: 1", "+temperature: 2", '-stop: ["a"]'} <= set(shown)


def test_hostile_and_long_texts_are_escaped_and_cut() -> None:
    hostile = "\x1b[2J\r\u202egnihton\x07\n+ forged: line"
    shown = diff(Asking([said("x")], None), Asking([said(hostile), said("y" * 1_000_000)], None))
    assert shown.isprintable() is False and "\x1b" not in shown and "\u202e" not in shown
    assert "\\u001b[2J" in shown and "\n+ forged" not in shown
    assert len(shown) < 20_000 and "more lines are not shown" in shown
    apart = diff(Asking([said("y" * 100_000 + "a")], None), Asking([said("y" * 100_000 + "b")], None))
    assert "they differ" in apart
