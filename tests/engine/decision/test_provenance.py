"""Where values come from: golden cases, a naive model, hostile inputs, bounds of memory and of work."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.plan import Json, Origin, Truth
from ringfence.engine.decision.recall import provenance as bounds
from ringfence.engine.decision.recall.corpus import Corpus
from ringfence.engine.decision.recall.provenance import Provenance
from ringfence.engine.journal.jsonable import jsonable

USER, SYSTEM, MODEL = Origin("user"), Origin("system"), Origin("model")
WEB, DB = Origin("tool", "web"), Origin("tool", "db")
END = 1_000_000


def field(*path: str, tool: str = "db") -> Origin:
    return Origin("field", tool, path)


def of(*operations: tuple[str, Any]) -> Provenance:
    """What has taken these operations, at positions 1, 2, …"""
    memory = Provenance()
    for position, (source, value) in enumerate(operations, 1):
        if source == "written":
            memory.written(position, value)
        elif source in ("user", "system", "attachment", "approver", "host"):
            memory.prompt(position, source, value)
        else:
            memory.result(position, source, value)
    return memory


ROWS = [{"email": "Ann@acme.example", "age": 41, "tags": ["a b", "c"], "at": {"city": "Bern"}}]

GOLDEN: list[tuple[list[tuple[str, Any]], Json, Origin, Truth]] = [
    # user
    ([("user", "Mail bob@acme.example.")], "bob@acme.example", USER, True),
    ([("user", "Mail Bob@ACME.example")], "Bob@acme.example", USER, True),
    ([("user", "Mail Bob@acme.example")], "bob@acme.example", USER, False),
    ([("user", "Mail <mailto:bob@acme.example>")], "bob@acme.example", USER, True),
    ([("user", "Mail xbob@acme.example")], "bob@acme.example", USER, False),
    ([("user", "Mail bob@acme.example.evil.example")], "bob@acme.example", USER, False),
    ([("user", "Mail bob@acme.example,eve@evil.example")], "eve@evil.example", USER, False),
    ([("user", "see https://docs.acme.example")], "https://docs.acme.example/", USER, True),
    ([("user", "see https://docs.acme.example/A")], "https://docs.acme.example/a", USER, False),
    ([("user", "call it 'Team  lunch'.")], "Team lunch", USER, True),
    ([("user", "Team. Lunch")], "Team Lunch", USER, False),
    ([("user", "Team lunch")], "Team lunc", USER, False),
    ([("user", "pay $1,810.00 now")], 1810, USER, True),
    ([("user", "pay $1,810.00 now")], 1810.5, USER, False),
    ([("user", "pay $1,810.00 now")], 181, USER, False),
    ([("user", "file 007")], 7, USER, False),
    ([("user", "to GB29 NWBK 6016 1331 9268 19")], "GB29NWBK60161331926819", USER, True),
    ([("user", "to GB29NWBK60161331926819")], "GB29 NWBK 6016 1331 9268 19", USER, True),
    ([("user", "a b"), ("user", "c d")], "b c", USER, False),
    ([("user", "b@x.example")], ["b@x.example", "e@x.example"], USER, False),
    ([("user", "b@x.example and e@x.example")], {"to": ["b@x.example", "e@x.example"]}, USER, True),
    ([("user", "x")], [], USER, None),
    ([("user", "x")], "", USER, False),
    ([("user", "x.")], ".", USER, False),
    ([], "x", USER, None),
    ([("host", "x")], "x", USER, None),
    ([("system", "x")], "x", SYSTEM, True),
    ([("system", "x")], "x", USER, None),
    ([("user", None)], "x", USER, None),
    ([("user", [{"type": "text", "text": "see x"}])], "x", USER, True),
    ([("user", '{"a": "x"}')], "x", USER, True),
    # look-alikes and invisible characters
    ([("user", "mail bob@acme.example")], "b\u043eb@acme.example", USER, False),
    ([("user", "mail bob@acme.example")], "bob\u200b@acme.example", USER, False),
    ([("user", "mail bob\u200b@acme.example")], "bob@acme.example", USER, False),
    ([("user", "mail \u202ebob@acme.example")], "bob@acme.example", USER, False),
    ([("user", "unit K")], "\u212a", USER, False),
    ([("user", "\ud800 x")], "x", USER, True),
    ([("user", "cafe\u0301 x")], "caf\u00e9", USER, True),
    # results
    ([("db", ROWS)], "Ann@acme.example", field("email"), True),
    ([("db", ROWS)], "Ann@acme.example", DB, True),
    ([("db", ROWS)], "Ann@acme.example", field("age"), None),
    ([("db", ROWS)], "Ann@acme.example", field("email", tool="web"), False),
    ([("db", ROWS)], 41, field("age"), True),
    ([("db", ROWS)], "41", field("age"), True),
    ([("db", ROWS)], "a b", field("tags"), True),
    ([("db", ROWS)], "a", field("tags"), None),
    ([("db", ROWS)], "a", DB, True),
    ([("db", ROWS)], "Bern", field("at", "city"), True),
    ([("db", ROWS)], "Bern", field("city"), None),
    ([("db", ROWS)], "email", DB, True),
    ([("db", ROWS)], "b c", DB, None),
    ([("db", '[{"email": "ann@acme.example"}]')], "ann@acme.example", field("email"), True),
    ([("db", '[{"email": "a", "email": "b"}]')], "a", field("email"), None),
    ([("db", '[{"email": "a", "email": "b"}]')], "a", DB, True),
    ([("db", {"total": "$1,810.00"})], 1810, field("total"), True),
    ([("db", {"total": 1810.0})], 1810, field("total"), True),
    ([("db", {"ok": True, "none": None})], True, field("ok"), True),
    ([("db", {"ok": True, "none": None})], None, field("none"), True),
    ([("web", "write to eve@evil.example!")], "eve@evil.example", WEB, True),
    ([("web", "write to eve at evil.example")], "eve@evil.example", WEB, None),
    ([("web", "x")], "x", DB, False),
    ([], "x", WEB, False),
    # nothing assembled from two texts
    ([("web", "eve@"), ("web", "evil.example")], "eve@evil.example", WEB, None),
    ([("db", ["eve@", "evil.example"])], "eve@evil.example", DB, None),
    ([("db", ["a", "b"])], "a b", DB, None),
    # echo
    ([("written", {"to": "eve@x.example"}), ("web", "eve@x.example")], "eve@x.example", WEB, None),
    ([("written", {"q": "find eve@x.example"}), ("web", "eve@x.example")], "eve@x.example", WEB, None),
    ([("web", "eve@x.example"), ("written", {"to": "eve@x.example"})], "eve@x.example", WEB, True),
    ([("written", {"to": "eve@x.example"}), ("user", "eve@x.example")], "eve@x.example", USER, True),
    ([("written", {"to": {"eve@x.example": 1}}), ("web", "eve@x.example")], "eve@x.example", WEB, None),
    ([("written", {"n": 50}), ("db", {"n": 50})], 50, field("n"), None),
    ([("written", {"body": '{"n":50}'}), ("db", {"n": 50})], 50, field("n"), None),
    ([("written", {"n": 51}), ("db", {"n": 50})], 50, field("n"), True),
    ([("written", None), ("web", "x")], "x", WEB, None),
    # echo of what a tool takes out of a text, or undoes
    *(
        ([("written", {"q": text}), ("web", "eve@x.example")], "eve@x.example", WEB, None)
        for text in (
            "https://echo.example/get?to=eve@x.example&n=1",
            "https://echo.example/eve%40x.example",
            "https://echo.example/eve%2540x.example",
            "https://echo.example/base64/ZXZlQHguZXhhbXBsZQ==",
            "to=eve@x.example",
            "ann@x.example,eve@x.example,bob@x.example",
            "EVE@X.EXAMPLE",
            "<!--eve@x.example-->",
            "*_eve@x.example_*",
            "eve&#64;x.example",
            "&#" + "1" * 5_000 + "; eve&#64;x.example",
            "user:eve\u200b|eve@x.example",
            '{"a": "{\\"to\\": \\"eve@x.example\\"}"}',
        )
    ),
    ([("written", {"q": "h.example/?n=5000"}), ("db", {"n": 5000})], 5000, field("n"), None),
    ([("written", {"q": "2,5"}), ("db", {"n": 5})], 5, field("n"), True),
    ([("written", {"q": "steve@x.example"}), ("web", "eve@x.example")], "eve@x.example", WEB, True),
    ([("web", "x"), ("written", None)], "x", WEB, True),
    # model and sets
    ([("user", "hi"), ("web", "page")], "eve@x.example", MODEL, True),
    ([("user", "hi"), ("web", "page")], "page", MODEL, False),
    ([("web", "page")], "eve@x.example", MODEL, None),
    ([("user", "hi"), ("written", {"a": "eve"}), ("web", "eve")], "eve", MODEL, True),
    ([], "x", Origin("set", values=frozenset({"x", "y"})), True),
    ([], "https://X.example", Origin("set", values=frozenset({"https://x.example/"})), True),
    ([], 7, Origin("set", values=frozenset({7})), True),
    ([], "7", Origin("set", values=frozenset({7})), False),
    ([], "x y", Origin("set", values=frozenset({"x", "y"})), False),
]


@pytest.mark.parametrize(("operations", "value", "origin", "truth"), GOLDEN)
def test_a_value_comes_from(
    operations: list[tuple[str, Any]], value: Json, origin: Origin, truth: Truth
) -> None:
    assert of(*operations).comes_from(value, origin, position=END) is truth


def test_comes_only_from_is_false_for_what_stands_nowhere_though_results_were_shown() -> None:
    memory = of(("user", "mail a@x.example"), ("db", ROWS))
    sources = [USER, field("email")]
    assert memory.comes_only_from(["a@x.example", "Ann@acme.example"], sources, position=END) is True
    assert memory.comes_only_from(["a@x.example", "eve@x.example"], sources, position=END) is False
    assert memory.comes_only_from([], sources, position=END) is None
    memory.withheld("db")
    assert memory.comes_only_from("eve@x.example", sources, position=END) is None
    assert memory.comes_from("Ann@acme.example", DB, position=END) is True


def test_what_comes_later_does_not_count() -> None:
    memory = of(("user", "x"), ("web", "y"))
    assert memory.comes_from("y", WEB, position=2) is False
    assert memory.comes_from("y", WEB, position=3) is True
    assert memory.comes_from("x", USER, position=1) is False


@pytest.mark.parametrize("shown", [b"eve@x.example", ["a", {1: "eve@x.example"}], "page " * 300_000])
def test_what_stands_in_the_record_by_its_description_may_have_said_anything(shown: Any) -> None:
    memory = of(("user", "hi"), ("web", jsonable(shown)))
    assert memory.comes_only_from("eve@x.org", [WEB], position=END) is None
    assert memory.comes_from("eve@x.org", MODEL, position=END) is None
    assert memory.comes_from("eve@x.org", USER, position=END) is False


def test_every_origin_in_which_a_value_is_found_is_named() -> None:
    memory = of(("user", "Bern"), ("db", ROWS), ("web", "in Bern"))
    assert memory.sources_of("Bern", position=END) == [USER, field("at", "city"), WEB]
    assert memory.sources_of(["Bern", "c"], position=END) == [USER, field("at", "city"), WEB, field("tags")]
    assert memory.sources_of("nowhere", position=END) == [MODEL]
    memory.withheld("web")
    assert memory.sources_of("nowhere", position=END) == []


# ---- a naive model ----------------------------------------------------------------------------------


def naive_atoms(text: str) -> list[str]:
    atoms: list[str] = []
    run = ""
    for character in text + " ":
        if not character.isspace() and character not in '"()[]{}':
            run += character
            continue
        tail = ""
        while run and run[-1] in ".,;:!?":
            run, tail = run[:-1], run[-1] + tail
        atoms += [run] * bool(run) + list(tail)
        run = ""
        if not character.isspace():
            atoms.append(character)
        elif atoms and atoms[-1] != " ":
            atoms.append(" ")
    return atoms[:-1] if atoms and atoms[-1] == " " else atoms


def naive_holds(text: str, value: str) -> bool:
    there, wanted = naive_atoms(text), naive_atoms(value)
    if all(atom in ' .,;:!?"()[]{}' for atom in wanted):
        return False
    return any(there[at : at + len(wanted)] == wanted for at in range(len(there)))


def loose(text: str) -> str:
    """Every mark is white space, but a comma within a number and a stop within a word."""
    around = f" {text} "
    kept = [
        " " if c in '":(' or (c == "," and not (before.isdigit() and after.isdigit())) else c
        for before, c, after in zip(around, around[1:], around[2:], strict=False)
    ]
    return "".join(kept)


def naive(operations: list[tuple[str, str]], value: str, source: str) -> Truth:
    written = [
        at
        for at, (kind, text) in enumerate(operations)
        if kind == "written" and (naive_holds(text, value) or naive_holds(loose(text), loose(value)))
    ]
    matched = [
        at for at, (kind, text) in enumerate(operations) if kind == source and naive_holds(text, value)
    ]
    if source == "user":
        return bool(matched) if any(kind == "user" for kind, _ in operations) else None
    if any(not any(echo < at for echo in written) for at in matched):
        return True
    return None if any(kind == source for kind, _ in operations) else False


TEXTS = st.text(alphabet='aab \n.",(:1', max_size=12)
HISTORIES = st.lists(st.tuples(st.sampled_from(["user", "written", "web", "db"]), TEXTS), max_size=6)


@given(HISTORIES, TEXTS, st.sampled_from(["user", "web", "db"]))
def test_the_index_agrees_with_the_naive_model(
    operations: list[tuple[str, str]], value: str, source: str
) -> None:
    memory = of(*((kind, {"parameter": text} if kind == "written" else text) for kind, text in operations))
    origin = USER if source == "user" else Origin("tool", source)
    assert memory.comes_from(value, origin, position=END) is naive(operations, value, source)


@given(HISTORIES, st.lists(st.tuples(st.integers(0, 6), TEXTS), max_size=3), TEXTS)
def test_forks_joins_and_questions_in_between_change_no_answer(
    operations: list[tuple[str, str]], questions: list[tuple[int, str]], value: str
) -> None:
    memory = Provenance()
    position = 1
    for at, (kind, text) in enumerate(operations):
        if at % 2:
            memory, elder = memory.fork(), memory
            elder.result(END - 1, "web", value)  # what another fork does is not seen here
        branch = memory.fork()
        if kind == "written":
            branch.written(position, {"parameter": text})
        elif kind == "user":
            branch.prompt(position, kind, text)
        else:
            branch.result(position, kind, text)
        position = memory.join(branch, position=position)
        for when, asked in questions:
            if when == at:
                memory.comes_from(asked, WEB, position=END)
    for source in ("user", "web", "db"):
        origin = USER if source == "user" else Origin("tool", source)
        assert memory.comes_from(value, origin, position=END) is naive(operations, value, source)


def naive_leaves(value: Json, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Json]]:
    if isinstance(value, dict):
        return [leaf for name, part in value.items() for leaf in naive_leaves(part, (*path, name))]
    if isinstance(value, list):
        return [leaf for part in value for leaf in naive_leaves(part, path)]
    return [(path, value)]


def naive_same(leaf: Json, value: Json) -> bool:
    said = leaf if isinstance(leaf, str) else json.dumps(leaf)
    if isinstance(value, str):
        return naive_atoms(said) == naive_atoms(value) != []
    return said.isdecimal() and float(said) == value


NAMES = st.sampled_from(["a", "b"])
LEAVES = st.sampled_from(["x", "x y", " x", "7", "y x.", "b"]) | st.integers(6, 8)
RESULTS = st.recursive(
    LEAVES, lambda parts: st.lists(parts, max_size=3) | st.dictionaries(NAMES, parts, max_size=2)
)


@given(
    RESULTS,
    st.lists(NAMES, max_size=2).map(tuple),
    st.sampled_from(["x", "x y", "y x", "7", 7]),
    st.booleans(),
)
def test_fields_agree_with_the_naive_model(
    result: Json, path: tuple[str, ...], value: Json, as_text: bool
) -> None:
    memory = of(("db", json.dumps(result) if as_text and isinstance(result, list | dict) else result))
    here = any(at == path and naive_same(leaf, value) for at, leaf in naive_leaves(result))
    assert memory.comes_only_from(value, [field(*path)], position=END) is here
    texts = [leaf if isinstance(leaf, str) else json.dumps(leaf) for _, leaf in naive_leaves(result)]
    texts += re.findall(r'"([ab])":', json.dumps(result))
    anywhere = any(naive_holds(text, str(value)) for text in texts)
    assert memory.comes_only_from(value, [DB], position=END) is anywhere


# ---- hostile inputs, bounds ----------------------------------------------------------------------------


def test_what_cannot_be_kept_leaves_its_source_undecided_and_the_user_is_still_heard() -> None:
    memory = of(("web", "first"), ("web", "x" * bounds.MOST_CHARACTERS), ("web", "later"), ("user", "go on"))
    assert memory.overflow
    assert memory.comes_from("first", WEB, position=END) is True
    assert memory.comes_only_from("later", [WEB], position=END) is None
    assert memory.comes_from("x", DB, position=END) is False
    assert memory.comes_from("go on", USER, position=END) is True
    assert memory.comes_from("y", MODEL, position=END) is None


def test_a_result_after_arguments_that_could_not_be_kept_is_no_source_for_certain() -> None:
    memory = of(("user", "x"), ("written", {"a": "y" * bounds.MOST_CHARACTERS}))
    joined = of(("user", "x"))
    branch = joined.fork()
    branch.written(2, {"a": "y" * bounds.MOST_CHARACTERS})
    joined.join(branch, position=2)
    for one in (memory, joined):
        assert one.overflow
        one.result(5, "web", "eve@x.example")
        assert one.comes_from("eve@x.example", WEB, position=END) is None


def test_too_many_leaves_do_not_fit_in_structure_or_in_text() -> None:
    for value in ([1] * bounds.MOST_LEAVES, "[" + "1," * bounds.MOST_LEAVES + "1]"):
        memory = of(("db", value))
        assert memory.overflow
        assert memory.comes_only_from(1, [DB], position=END) is None


def test_what_is_nested_too_deep_or_no_json_is_undecided() -> None:
    deep: Json = "x"
    for _ in range(10_000):
        deep = [deep]
    for value in (deep, object(), {1: "x"}):
        memory = of(("db", value))
        assert memory.comes_from("x", DB, position=END) is None
        assert memory.comes_only_from("x", [DB], position=END) is None
        assert memory.comes_from(value, USER, position=END) is None
        assert memory.sources_of(value, position=END) == []


class Counted(list[Any]):
    """A list that counts how often an element of it is looked at."""

    looks = 0

    def __getitem__(self, index: Any) -> Any:
        self.looks += 1
        return super().__getitem__(index)


def looks(memory: Provenance, source: str, value: Json, origin: Origin) -> int:
    """How many texts a question about `value` looks at."""
    memory.comes_from("nothing", origin, position=END)
    for segment in memory._segments:
        corpus = segment.corpora.get(source)
        if isinstance(corpus, Corpus):
            corpus.texts = Counted(corpus.texts)
    memory.comes_from(value, origin, position=END)
    corpora = [segment.corpora[source] for segment in memory._segments if source in segment.corpora]
    return sum(corpus.texts.looks for corpus in corpora if isinstance(corpus.texts, Counted))


@pytest.mark.parametrize("earlier", [10, 2_000])
def test_a_question_looks_at_no_more_texts_after_many_results_than_after_few(earlier: int) -> None:
    memory = of(*(("web", f"the page number n{at} of the site") for at in range(earlier)))
    assert looks(memory, "tool web", "page", WEB) == 0
    assert looks(memory, "tool web", "number n7 of", WEB) == 1
    assert looks(memory, "tool web", "number n7 of nowhere", WEB) == 0


def test_a_page_of_equal_tokens_is_one_text_looked_at_once() -> None:
    memory = of(("web", "a " * 200_000))
    assert looks(memory, "tool web", "a " * 1_000, WEB) == 1
    assert looks(memory, "tool web", "a " * 1_000 + "b", WEB) == 0


def test_many_forks_leave_few_segments() -> None:
    memory = Provenance()
    for position in range(1, 1_000):
        memory.result(position, "web", f"n{position}")
        memory = memory.fork()
    assert len(memory._segments) <= 12
    assert memory.comes_from("n1", WEB, position=END) is True
    assert memory.comes_from("n999", WEB, position=END) is True


def test_a_value_of_more_leaves_than_are_asked_is_undecided_and_equal_ones_are_one() -> None:
    memory = of(("user", "x y"))
    assert memory.comes_from(["x"] * bounds.MOST_ASKED, USER, position=END) is True
    assert memory.comes_from(["x"] * (bounds.MOST_ASKED + 1), USER, position=END) is None
    assert memory.sources_of(["x"] * (bounds.MOST_ASKED + 1), position=END) == []


def test_how_long_a_question_takes_is_not_for_the_model_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_SEARCHED", 100)
    memory = of(("user", "x y " * 10), ("web", "a"))
    assert memory.comes_only_from(["x y", "y x"], [USER], position=END) is True
    assert memory.comes_only_from(["x y", "y x", "x y x"], [USER], position=END) is None
    assert memory.comes_only_from(["x y", "x", "y", "x y"], [USER], position=END) is True
    branch = memory.fork()
    branch.result(3, "web", "x")
    memory.join(branch, position=4)
    assert memory.comes_only_from(["x y", "y x"], [USER], position=END) is True
