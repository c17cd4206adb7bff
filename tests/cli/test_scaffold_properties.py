"""Whatever a live tool set says, the policy that is written of it loads, is laid out, and opens no harm."""

from typing import Any

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from ringfence.cli.scaffold.traits import guess
from ringfence.cli.scaffold.writing import scaffold
from ringfence.dsl.diagnostic import draw
from ringfence.dsl.format import format_text
from ringfence.dsl.live import LiveTool
from ringfence.dsl.load import load_text
from ringfence.dsl.parse import parse
from ringfence.dsl.source import Source
from ringfence.dsl.syntax import Allow, Tool

KEYWORDS = [
    *("language", "policy", "ceiling", "use", "levels", "capability", "set", "pattern"),
    *("calendar", "function", "principal", "approver", "agent", "responses", "isolate", "tool"),
    *("rule", "order", "budget", "guarantee", "test", "needs", "takes", "touches"),
    *("allow", "always", "when", "require", "deny", "ask", "rate", "blast"),
    *("radius", "result", "is", "redact", "with", "runs", "in", "audit"),
    *("stop", "after", "any", "that", "reading", "every", "some", "satisfies"),
    *("true", "false", "not", "and", "or", "calls", "to", "during"),
    *("arg", "size", "lower", "host", "domain", "urls", "emails", "of"),
    *("list", "optional", "at", "most", "text", "line", "integer", "one"),
    *("main", "user", "system", "attachment", "model", "contains", "starts", "ends"),
    *("matches", "present", "missing", "comes", "only", "from", "carries"),
]  # fmt: skip
HOSTILE = [
    'x" { allow always } tool y {',
    "x\n}\ntool y { allow always }\n#",
    "x # */ -->",
    "\u202e\u2066x",
    "\x1b[2J",
    "\r",
    "\x85\u2028\u2029",
    "\ufffd",
    "\\",
    '\\"',
    "`x`",
    "é中\U0001f600",
    "y" * 5_000,
    "0",
    "-",
]
texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.sampled_from(HOSTILE),
    st.sampled_from(KEYWORDS),
)
names = st.one_of(
    st.from_regex(r"\A[a-z_][a-z0-9_]{0,8}\Z"),
    st.sampled_from(KEYWORDS),
    st.from_regex(r"\A[A-Za-z][A-Za-z0-9./-]{0,8}\Z"),
    texts,
)
numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.integers(-9, 9),
    st.sampled_from([0.5, -0.0, 1e-9]),
)
patterns = st.sampled_from(
    ["^a/b$", "a|b", "^a|b$", r"\d+", r"^\/x\\/$", "(?=x)", "(", "[/]", r"a\$", "", "^", "$", "^$",
     r"\u0041", "é", ".*", "x\ny", "^[$]$", "(?i)x", r"\\", "a{1000}{1000}", r"^a\\$"]
)  # fmt: skip


kinds = st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "null", "odd"])
odd: st.SearchStrategy[Any] = st.sampled_from([5, "x", None, True, []])
values = st.one_of(texts, numbers, st.booleans(), st.none(), st.just([1]))
WORDS: dict[str, st.SearchStrategy[Any]] = {
    "type": st.one_of(kinds, st.lists(kinds, max_size=3)),
    "enum": st.lists(values, max_size=12),
    "const": values,
    "format": st.sampled_from(["email", "uri", "date", "date-time", "odd"]),
    "minLength": numbers,
    "maxLength": numbers,
    "minimum": numbers,
    "maximum": numbers,
    "exclusiveMinimum": numbers,
    "exclusiveMaximum": numbers,
    "pattern": st.one_of(patterns, texts),
    "maxItems": numbers,
    "$ref": st.sampled_from(["#/$defs/a", "#", "#/properties/x", "http://127.0.0.1/x", "#/nowhere"]),
    "description": texts,
}


@st.composite
def schemas(draw: st.DrawFn, depth: int = 0) -> Any:
    """A JSON Schema, or what somebody took for one."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.one_of(st.booleans(), odd))
    schema: dict[str, Any] = {}
    for word in draw(st.lists(st.sampled_from(sorted(WORDS)), max_size=5, unique=True)):
        schema[word] = draw(odd if draw(st.integers(0, 19)) == 0 else WORDS[word])
    if depth < 2 and draw(st.booleans()):
        word = draw(st.sampled_from(["items", "anyOf", "oneOf", "allOf"]))
        inner = schemas(depth + 1)
        schema[word] = draw(inner if word == "items" else st.lists(inner, max_size=3))
    return schema


objects = st.fixed_dictionaries(
    {"properties": st.dictionaries(names, schemas(), max_size=5)},
    optional={
        "type": st.just("object"),
        "required": st.one_of(st.lists(names, max_size=4), st.just("x")),
        "additionalProperties": st.booleans(),
        "$defs": st.fixed_dictionaries({"a": schemas()}),
        "allOf": st.lists(
            st.fixed_dictionaries({"properties": st.dictionaries(names, schemas(), max_size=2)}), max_size=2
        ),
    },
)
hints = st.sampled_from(["readOnlyHint", "destructiveHint", "title"])
tools = st.builds(
    LiveTool,
    names.filter(bool),
    st.one_of(st.none(), objects, objects, st.just({})),
    texts,
    st.dictionaries(st.one_of(hints, texts), st.one_of(st.booleans(), texts), max_size=3),
    st.booleans(),
)
tool_sets = st.lists(tools, min_size=1, max_size=4, unique_by=lambda tool: tool.name)


@settings(phases=[Phase.explicit, Phase.generate], max_examples=60, suppress_health_check=list(HealthCheck))
@example([LiveTool(text, None, text, own=True) for text in HOSTILE])
@example([LiveTool(word, None, own=True) for word in KEYWORDS])
@example([LiveTool("x", {"properties": dict.fromkeys(KEYWORDS, {"type": "string", "minLength": 1})})])
@example(
    [LiveTool("x", {"properties": {word: {"items": {"enum": ["a"]}, "type": "array"} for word in KEYWORDS}})]
)
@given(tool_sets)
def test_the_policy_loads_is_laid_out_and_fits_the_tools_that_it_was_written_of(live: list[LiveTool]) -> None:
    given_tools = {tool.name: tool for tool in live}
    made = scaffold("first", given_tools, "a test")
    assert format_text(made.text).text == made.text
    loaded = load_text(made.text, live=given_tools)
    assert loaded.plan is not None, draw(loaded.diagnostics)
    assert {report.code for report in loaded.diagnostics} <= (
        {"W201", "W212"} if made.unsayable else {"W201"}
    )
    assert {tool.bound for tool in loaded.plan.tools.values()} | set(made.unsayable) == set(given_tools)


@settings(phases=[Phase.explicit, Phase.generate], max_examples=40, suppress_health_check=list(HealthCheck))
@given(tool_sets)
def test_only_what_is_the_hosts_own_and_reads_is_open(live: list[LiveTool]) -> None:
    given_tools = {tool.name: tool for tool in live}
    made = scaffold("first", given_tools, "a test")
    document, _ = parse(Source("first", made.text))
    declared = [node for node in document.declarations if isinstance(node, Tool)]
    assert len(declared) == len(live) - len(made.unsayable)  # no stranger's text became a declaration
    for node in declared:
        tool = given_tools[node.bound.value if node.bound else node.name.text]
        opens = any(isinstance(clause, Allow) for clause in node.clauses)
        known = guess(tool, (tool.schema or {}).get("properties", {}))
        assert not opens or (tool.own and known.traits == {"read"})
