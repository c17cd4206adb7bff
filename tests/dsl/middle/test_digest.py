"""The digest is the meaning: what decides differently has another digest, and what has one decides alike."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Parameter, Plan, ToolPlan
from ringfence.dsl.source import Place

SHOP = (Path(__file__).parent / "golden" / "shop.fence").read_text("utf-8")
WORDS = re.compile(
    r'"(?:[^"\\]|\\.)*"|/(?:[^/\\\n]|\\.)+/|\w+\s+(?:KB|MB|seconds?|minutes?|days?)\b|\w+|[<>=!]=|\S'
)
TEXT = "\n".join(line for line in SHOP.splitlines() if not line.startswith("#"))
PARTS = WORDS.findall(TEXT)
LOADED = load_text(TEXT).plan
assert LOADED is not None
PLAN = LOADED


def meaning(value: Any) -> Any:
    """All that a plan says, but where it says it: no places, no closures, no text of the file."""
    if isinstance(value, Plan):
        left_out = ("text", "file", "files", "digest", "core")
        return {f.name: meaning(getattr(value, f.name)) for f in fields(value) if f.name not in left_out}
    if isinstance(value, Place) or callable(value):
        return None
    if isinstance(value, Parameter):
        return (value.name, value.type, value.optional)
    if hasattr(value, "__dataclass_fields__"):
        kept = {f.name: meaning(getattr(value, f.name)) for f in fields(value)}
        if isinstance(value, ToolPlan):  # what decides does not depend on where rules stand
            kept["principal_fields"] = sorted(name for name, _, _ in value.principal_fields)
            for effect in ("denies", "asks", "allows"):
                kept[effect] = sorted(kept[effect], key=repr)
            kept["parameters"] = value.parameters and {n: meaning(p) for n, p in value.parameters.items()}
        return kept
    if isinstance(value, frozenset):
        return sorted(value)
    if hasattr(value, "items"):
        return {name: meaning(one) for name, one in value.items()}
    return tuple(map(meaning, value)) if isinstance(value, tuple | list) else value


BEFORE = meaning(PLAN)
mutations = st.lists(
    st.tuples(
        st.integers(0, len(PARTS) - 1),
        st.sampled_from(["drop", "twice", "swap", "count", "other"]),
        st.sampled_from(sorted(set(PARTS))),
        st.integers(1, 12),
    ),
    min_size=1,
    max_size=2,
)


def mutated(steps: list[tuple[int, str, str, int]]) -> str:
    parts = list(PARTS)
    for at, kind, other, length in steps:
        at = min(at, len(parts) - 1)
        some = parts[at : at + length]
        if kind == "drop":
            parts[at : at + length] = []
        elif kind == "twice":
            parts[at:at] = some
        elif kind == "swap":
            parts[at : at + 2] = parts[at : at + 2][::-1]
        elif kind == "count":
            parts[at] = re.sub(r"[0-9]+", lambda found: str(int(found[0]) + 1), parts[at])
        else:
            parts[at] = other
    return "\n".join(parts)


def check(text: str) -> bool:
    """Say whether the text loads; if it does, digest and meaning must both be other ones, or neither."""
    plan = load_text(text).plan
    if plan is None:
        return False
    assert (plan.digest == PLAN.digest) == (meaning(plan) == BEFORE), text
    return True


@given(mutations)
@settings(max_examples=1500)
def test_the_digest_changes_exactly_with_the_meaning(steps: list[tuple[int, str, str, int]]) -> None:
    check(mutated(steps))


def test_every_number_text_and_pattern_that_is_written_counts() -> None:
    said = 0
    for at, part in enumerate(PARTS):
        if part[0].isdigit() and PARTS[at - 1] != "language":
            new = re.sub(r"[0-9]+", lambda found: str(int(found[0]) + 1), part, count=1)
        elif part[0] == '"' or (part[0] == "/" and len(part) > 1):
            new = part[0] + "z" + part[1:]
        else:
            continue
        plan = load_text("\n".join([*PARTS[:at], new, *PARTS[at + 1 :]])).plan
        if plan is not None:
            said += 1
            assert plan.digest != PLAN.digest, (at, part)
    assert said >= 30


def test_every_run_of_words_that_can_be_left_out_counts() -> None:
    dropped = sum(
        check("\n".join([*PARTS[:at], *PARTS[at + length :]]))
        for at in range(len(PARTS))
        for length in range(1, 9)
    )
    assert dropped > 60
