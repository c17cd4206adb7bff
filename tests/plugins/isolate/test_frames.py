"""Frames: what is written is read back; nothing else gets through, and nothing makes the reader pay."""

import json
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.plugins.isolate import frames
from ringfence.plugins.isolate.frames import FrameError, checked, length, read, written

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=5)


def body_of(frame: bytes) -> bytes:
    assert length(frame[:4]) == len(frame) - 4
    return frame[4:]


@given(OBJECTS)
def test_what_is_written_is_read_back(value: dict[str, object]) -> None:
    assert read(body_of(written(value))) == value


@given(OBJECTS)
def test_raw_utf_8_is_read_like_escapes(value: dict[str, object]) -> None:
    try:
        raw = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate has no raw form
        return
    assert read(raw) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_frame_error(noise: bytes) -> None:
    try:
        value = read(noise)
    except FrameError:
        return
    assert value == json.loads(noise)


@given(OBJECTS, st.data())
def test_a_frame_that_is_cut_short_is_refused(value: dict[str, object], data: st.DataObject) -> None:
    body = body_of(written(value))
    kept = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(FrameError):
        read(body[:kept])


@given(st.integers(0, 2**32 - 1))
def test_a_length_beyond_the_limit_is_refused(size: int) -> None:
    header = size.to_bytes(4, "big")
    if 2 <= size <= frames.MAX_FRAME_BYTES:
        assert length(header) == size
    else:
        with pytest.raises(FrameError):
            length(header)


@given(st.binary(max_size=8).filter(lambda header: len(header) != 4))
def test_a_header_of_another_size_is_refused(header: bytes) -> None:
    with pytest.raises(FrameError):
        length(header)


@given(st.lists(st.sampled_from("[{"), min_size=1, max_size=260))
def test_nesting_is_bounded_before_decoding(brackets: list[str]) -> None:
    """Objects and arrays alike, to the exact depth."""
    text = "1"
    for bracket in brackets:
        text = f"[{text}]" if bracket == "[" else f'{{"a":{text}}}'
    if len(brackets) <= frames.MAX_DEPTH:
        checked(text)
    else:
        with pytest.raises(FrameError, match="deeper"):
            checked(text)


@given(st.text(alphabet='[]{}"\\,: a'))
def test_brackets_and_quotes_inside_strings_do_not_count(text: str) -> None:
    inner = text * 50
    assert read(body_of(written({"a": inner})), depth=1, tokens=8) == {"a": inner}


def outcome(reader: Callable[[], object]) -> tuple[str, object]:
    try:
        return "read", reader()
    except FrameError as error:
        return "refused", str(error)


@given(
    OBJECTS.map(json.dumps) | st.text(alphabet='[]{}"\\,:a1 ', max_size=60),
    st.integers(0, 6),
    st.integers(0, 60),
    st.integers(0, 200),
)
def test_a_frame_that_needs_no_look_at_its_strings_is_read_as_one_that_does(
    text: str, depth: int, tokens: int, cut: int
) -> None:
    """The quick way and the long one give the same value, or the same words."""
    body = text[: len(text) - cut if cut < 10 else len(text)].encode()

    def long() -> object:
        frames.bounded(body, depth=depth, tokens=tokens)
        return frames._decoded(body)

    def quick() -> object:
        return frames._value(body, depth=depth, tokens=tokens)

    assert repr(outcome(quick)) == repr(outcome(long))


@pytest.mark.parametrize("depth", [frames.MAX_DEPTH, frames.MAX_DEPTH + 1])
def test_a_short_frame_is_no_deeper_than_one_that_is_looked_through(depth: int) -> None:
    body = b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    if depth == frames.MAX_DEPTH:
        read(body)
    else:
        with pytest.raises(FrameError, match="deeper"):
            read(body)


def test_a_short_frame_of_few_brackets_is_only_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(frames, "bounded")
    assert read(b'{"done":{"result":"[[1]]"}}') == {"done": {"result": "[[1]]"}}


@given(VALUES)
def test_json_inside_json_costs_no_depth(value: object) -> None:
    inner = json.dumps(value)
    assert read(body_of(written({"done": {"result": inner}})), depth=2, tokens=20) == {
        "done": {"result": inner}
    }


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":1,"a":2}',
        b'{"x":{"a":1,"a":1}}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        b"[]",
        b'"a"',
        b"null",
        b"{} {}",
        b"{}x",
        b"",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":"\n"}',
        b"]{[}",
        b'{"a":' + b"9" * 1001 + b"}",
        b'{"a":0.' + b"9" * 5000 + b"}",
        b'{"a":"\\"}',
    ],
)
def test_what_is_not_strict_json_is_refused(body: bytes) -> None:
    with pytest.raises(FrameError):
        read(body)


@pytest.mark.parametrize(
    "flood",
    [b"[" * 2_000_000, b"[]," * 700_000, b'"",' * 700_000, b"1," * 1_000_000, b'{"a":' * 500_000],
    ids=["open", "pairs", "strings", "numbers", "objects"],
)
def test_a_flood_is_refused_before_it_is_decoded(flood: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(FrameError):
            read(b'{"a":[' + flood + b"1]}")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(flood) + (1 << 20)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, {"a": {"b": b"c"}}])
def test_what_is_not_json_is_not_written(value: object) -> None:
    with pytest.raises(FrameError):
        written({"a": value})


def test_what_is_too_large_is_not_written() -> None:
    assert len(written({"a": "x" * 92}, limit=100)) == 104
    with pytest.raises(FrameError, match="101"):
        written({"a": "x" * 93}, limit=100)


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(FrameError):
        checked('"\ud800"')
    checked('"\\ud800"')
