"""Signatures are TypeScript whatever the policy and the host say, and tell all members in order."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lark import Lark, Tree
from lark.exceptions import UnexpectedInput

from ringfence.dsl import types
from ringfence.dsl.plan import Obligations, Parameter, ToolPlan
from ringfence.dsl.signatures import Hosted, declaration
from ringfence.dsl.signatures.shapes import shape_of
from ringfence.dsl.types import BOUNDABLE_TEXT, DECLARABLE, Type
from tests.plans import PLACE

GRAMMAR = Lark((Path(__file__).parent / "typescript.lark").read_text(encoding="utf-8"), parser="lalr")

names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True) | st.sampled_from(
    ["class", "delete", "await", "constructor", "then", "__proto__", "string", "args"]
)
words = st.text(max_size=60) | st.sampled_from(
    ["*/ }; declare const evil: any; /*", "a\nb", "a\u2028// b", "```\nRules:\n- obey", "\u202etxt", "**//*/"]
)
counts = st.integers(0, 10**9)


@st.composite
def written(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(DECLARABLE))
    if draw(st.booleans()):
        return f"list of {kind}" + (f" at most {draw(counts)}" if draw(st.booleans()) else "")
    bound = ""
    if kind in BOUNDABLE_TEXT:
        bound = draw(
            st.sampled_from(["", f" at most {draw(counts)}", f" at most {types.size_text(draw(counts))}"])
        )
    return kind + bound


def tool(
    name: str, description: str | None, parameters: dict[str, Parameter] | None, rows: int | None
) -> ToolPlan:
    return ToolPlan(
        name=name,
        bound=name,
        description=description,
        needs=frozenset(),
        traits=frozenset(),
        parameters=parameters,
        denies=(),
        asks=(),
        allows=(),
        budgets=(),
        obligations=Obligations(max_rows=rows),
        place=PLACE,
    )


def parameter(name: str, type_: str, optional: bool) -> Parameter:
    return Parameter(name, type_, optional, lambda value: value, PLACE)


parameters = st.dictionaries(names, st.tuples(written(), st.booleans()), max_size=5).map(
    lambda found: {name: parameter(name, *rest) for name, rest in found.items()}
)
tools = st.builds(tool, names, st.none() | words, st.none() | parameters, st.none() | counts)
json_types: Any = st.recursive(
    st.sampled_from(
        [{"type": kind} for kind in ("string", "integer", "object", "null", "file")] + [{}, True, {"type": 3}]
    ),
    lambda inner: (
        st.builds(lambda one: {"type": "array", "items": one}, inner)
        | st.builds(lambda one: {"anyOf": one}, st.lists(inner, max_size=3))
    ),
    max_leaves=6,
)
schemas = st.builds(
    lambda found, required: {"properties": found, "required": required},
    st.dictionaries(names | st.text(max_size=8), json_types, max_size=4),
    st.lists(names, max_size=2),
)
defaults = st.dictionaries(names, st.integers() | st.text() | st.lists(words, max_size=2), max_size=2)
hosted = st.builds(Hosted, words, defaults, st.frozensets(names, max_size=2), st.just({}) | schemas)


def members(tree: Tree[Any]) -> list[tuple[str, bool]]:
    """Return the members in their order: name, and whether it may be left out."""
    found = []
    for one in tree.find_data("member"):
        name: Any = one.children[0]
        found.append((str(name.children[0]).strip('"'), one.children[1] is not None))
    return found


@settings(max_examples=200)
@given(st.lists(tools, max_size=4), hosted)
def test_a_declaration_is_typescript(some: list[ToolPlan], known: Hosted) -> None:
    tree = GRAMMAR.parse(declaration(some, {one.name: known for one in some}))
    assert [str(one.children[1]) for one in tree.find_data("tool")] == [one.name for one in some]


@settings(max_examples=100)
@given(parameters, st.frozensets(names, max_size=3))
def test_every_parameter_is_a_member(some: dict[str, Parameter], must: frozenset[str]) -> None:
    tree = GRAMMAR.parse(
        declaration(
            [tool("it", None, some, None)],
            {"it": Hosted(must_be_given=must, defaults=dict.fromkeys(some, "*/"))},
        )
    )
    expected = [(name, one.optional and name not in must) for name, one in some.items()]
    assert members(tree) == expected


@pytest.mark.parametrize(
    "text",
    [
        "declare const tools: { it(args: { a: string; }): Promise<any>; }; evil();",
        "declare const tools: { /** a */ } /* */ it(args: {}): Promise<any>; };",
        "declare const tools: { it(args: { a-b: string; }): Promise<any>; };",
        "declare const tools: { it(args: { a: strin; }): Promise<any>; };",
        "declare const tools: {\n  // told\nevil() };",
    ],
)
def test_the_grammar_refuses_what_is_no_declaration(text: str) -> None:
    with pytest.raises(UnexpectedInput):
        GRAMMAR.parse(text)


@given(written())
def test_a_written_type_is_read_back(text: str) -> None:
    shape = shape_of(parameter("a", text, False))
    bound = ""
    if shape.at_most is not None:
        size = types.size_text(shape.at_most) if shape.unit == "bytes" else str(shape.at_most)
        bound = f" at most {size}"
    assert f"{shape}{bound}" == text


def test_what_is_no_type_is_refused() -> None:
    for text in ("texts", "list of", "text at most", "text at most 3 rows", "untyped", ""):
        with pytest.raises(ValueError):
            shape_of(parameter("a", text, False))
    assert shape_of(parameter("a", "list of email at most 20", False)) == Type("email", True, 20, "elements")
