"""`ringfence init` writes a first policy: all that schemas say, and nothing open that could do harm."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ringfence.__main__ import main
from ringfence.cli.scaffold.conditions import full_match, number
from ringfence.cli.scaffold.traits import guess
from ringfence.cli.scaffold.words import Names, comment, name_like, quoted
from ringfence.cli.scaffold.writing import scaffold, source_of
from ringfence.dsl.checks.regex import full_match as compiled
from ringfence.dsl.live import LiveTool
from ringfence.dsl.load import load_text


def schema(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def hinted(name: str, **hints: bool) -> LiveTool:
    return LiveTool(name, schema(), annotations=hints, own=True)


def written(*tools: LiveTool) -> str:
    return scaffold("desk", {tool.name: tool for tool in tools}, "a test").text


def block(text: str, name: str) -> str:
    return text.split(f"tool {name} ", 1)[1].split("\n}\n", 1)[0]


# ---- the schemas -----------------------------------------------------------------------------------


def test_types_lengths_and_formats_become_takes() -> None:
    parameters = schema(
        ("to", "body"),
        to={"type": "array", "items": {"type": "string", "format": "email"}, "maxItems": 5},
        body={"type": "string", "maxLength": 2000},
        link={"type": "string", "format": "uri"},
        day={"type": "string", "format": "date", "maxLength": 10},
        count={"type": "integer"},
        share={"type": "number"},
        now={"type": "boolean"},
        extra={"type": "object"},
        perhaps={"anyOf": [{"type": "string"}, {"type": "null"}]},
        row={"$ref": "#/$defs/Row"},
    )
    parameters["$defs"] = {"Row": {"type": "object", "properties": {}}}
    assert " ".join(block(written(LiveTool("send", parameters)), "send").split()).startswith(
        "{ needs reach_out takes to: list of email at most 5, body: text at most 2000, link: url optional,"
        " day: date optional, count: integer optional, share: number optional, now: boolean optional,"
        " extra: record optional, perhaps: text optional, row: record optional"
    )


def test_enumerations_bounds_patterns_and_least_lengths_become_conditions() -> None:
    said = block(
        written(
            LiveTool(
                "tell",
                schema(
                    ("unit", "limit", "share", "id", "tags"),
                    unit={"enum": ["c", "f"]},
                    kind={"const": 'a "b"'},
                    limit={"type": "integer", "minimum": 1, "exclusiveMaximum": 10.5},
                    share={"type": "number", "exclusiveMinimum": 0, "maximum": 0.5},
                    id={"type": "string", "pattern": "^[A-Z]{2}/[0-9]+$", "minLength": 3},
                    tags={"type": "array", "items": {"enum": [1, 2]}},
                ),
            )
        ),
        "tell",
    )
    for line in (
        'require unit in ["c", "f"]',
        'require kind is missing or (kind == "a \\"b\\"")',
        "require limit >= 1 and limit <= 10",
        "require share > 0 and share <= 0.5",
        r"require id matches /[A-Z]{2}\/[0-9]+/",
        "require size(tags) == 0 or (every one in tags satisfies (one in [1, 2]))",
    ):
        assert line in said or line.replace("require id", "require size(id) >= 3 bytes and id") in said, line


def test_a_long_enumeration_is_a_named_set_that_collides_with_nothing() -> None:
    choices = {"enum": [f"value number {number}" for number in range(20)]}
    text = written(
        LiveTool("list", schema(kind=choices)),
        LiveTool("list_kind", schema(list_kind_2={"type": "string"})),
    )
    assert "set list_kind_3 = [\n" in text or 'set list_kind_3 = ["value number 0"' in text
    assert "(kind in list_kind_3)" in text


def test_what_no_type_says_is_left_to_the_schema_and_said() -> None:
    said = block(
        written(
            LiveTool(
                "tell",
                schema(
                    maxRows={"type": "integer"},
                    any={},
                    two={"type": ["string", "integer"]},
                    deep={"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
                    never={"enum": []},
                    odd={"type": "string", "pattern": "(?=x)y"},
                ),
            )
        ),
        "tell",
    )
    assert "takes odd: text optional" in said
    for remark in (
        "# Not in `takes`: `maxRows`, a name that no policy can say; the schema alone types it.",
        "# Not in `takes`: `any`: its schema gives it no type; the schema alone types it.",
        "# Not in `takes`: `two`: it may be integer or text; the schema alone types it.",
        "# Not in `takes`: `deep`: it is a list of what no type says; the schema alone types it.",
        "# Not in `takes`: `never`: nothing fits its schema; the schema alone types it.",
        "# Not written of `odd`: a pattern that RE2 does not know, or that is too long.",
    ):
        assert remark in said


@pytest.mark.parametrize(
    ("pattern", "fits", "unfit"),
    [
        ("^a/b$", ["a/b"], ["xa/b", "a/b/"]),
        (r"^a\/b$", ["a/b"], ["a"]),
        ("b", ["abc", "b", "x\nb"], ["ac"]),
        ("^b", ["bc"], ["ab"]),
        ("^a|b$", ["ax", "xb"], ["xax"]),
        (r"^x\\$", ["x\\"], ["x"]),
        (r"a\$", ["xa$y"], ["a"]),
        ("[/]", ["a/b"], ["ab"]),
    ],
)
def test_a_pattern_found_anywhere_becomes_one_of_the_whole_text(
    pattern: str, fits: list[str], unfit: list[str]
) -> None:
    said = full_match(pattern)
    assert said is not None
    matches = compiled(said.replace("\\/", "/"))
    assert all(matches(text) for text in fits) and not any(matches(text) for text in unfit)


@pytest.mark.parametrize("pattern", ["(?=x)", "(", "x\ny", "\u202e", "a" * 301, r"^a\\$" + "\x00"])
def test_a_pattern_that_no_policy_can_say_is_none(pattern: str) -> None:
    assert full_match(pattern) is None


def test_numbers_are_written_without_an_exponent_or_not_at_all() -> None:
    assert [number(value) for value in (5, 5.0, -0.25, 1e-7, 2**60, 1e300)] == [
        "5", "5", "-0.25", "0.0000001", None, None,
    ]  # fmt: skip


# ---- open and closed -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "needs", "opens"),
    [
        (LiveTool("get_weather", schema(city={"type": "string"}), own=True), ("read_data",), True),
        (LiveTool("get_weather", schema(city={"type": "string"})), ("read_data",), False),
        (LiveTool("read_file", schema(path={"type": "string"}), own=True), ("read_data",), False),
        (LiveTool("get_page", schema(url={"type": "string"}), own=True), ("read_data", "reach_out"), False),
        (LiveTool("deleteUser", schema(), own=True), ("destroy",), False),
        (LiveTool("get_users", schema(), "Lists, then deletes.", own=True), ("read_data", "destroy"), False),
        (LiveTool("getDELETEAll", schema(), own=True), ("read_data", "destroy"), False),
        (LiveTool("get_anddeleteall", schema(), own=True), ("read_data", "destroy"), False),
        (LiveTool("run-query", schema(), own=True), ("run_code",), False),
        (LiveTool("search", schema(sql={}), own=True), ("read_data", "run_code"), False),
        (LiveTool("refund", schema(), own=True), ("move_money",), False),
        (LiveTool("updated_things", schema(), own=True), ("change_data",), False),
        (LiveTool("frobnicate", schema(), own=True), ("unknown_effect",), False),
        (LiveTool("???", None, own=True), ("unknown_effect",), False),
        (LiveTool("get_x", schema(), "x " * 20_000, own=True), ("read_data", "unknown_effect"), False),
        (hinted("get_x", destructiveHint=True), ("read_data", "destroy"), False),
        (hinted("get_x", readOnlyHint=False), ("read_data", "change_data"), False),
        (hinted("get_x", openWorldHint=True), ("read_data", "reach_out"), False),
        (hinted("frobnicate", readOnlyHint=True), ("unknown_effect",), False),
    ],
)  # fmt: skip
def test_only_what_is_known_and_reads_is_open(tool: LiveTool, needs: tuple[str, ...], opens: bool) -> None:
    known = guess(tool, (tool.schema or {}).get("properties", {}))
    assert (known.needs, known.opens) == (needs, opens)


def test_each_tool_says_why_it_is_open_or_closed_and_what_to_write() -> None:
    text = written(
        LiveTool("get_hours", schema(), own=True),
        LiveTool("send_mail", schema(("to",), to={"type": "string", "format": "email"})),
        LiveTool("drop_table", schema(("name",), name={"type": "string"})),
    )
    assert (
        "  # Open: it is your own code, and its name says `get`. Look whether it holds.\n  allow always"
        in text
    )
    assert (
        "  # Closed: its name says `send`. To open it, write for example:\n"
        '  #   allow when domain(to) == "your.example"\n  rate 10 per hour'
    ) in text
    assert "#   ask lead" in block(text, "drop_table") and "\n#   approver lead {" in text.split("\ntool ")[0]


def test_what_a_server_says_of_itself_is_a_remark() -> None:
    hints = {"readOnlyHint": True, "title": "X"}
    text = written(LiveTool("get_x", schema(), "Harmless.", hints))
    assert "# Its own words: Harmless.\n" in text
    assert "# The server's own word, and not trusted: readOnlyHint is true.\n" in text
    assert "\n  allow" not in text


# ---- names and strangers' texts ----------------------------------------------------------------------


def test_names_that_are_none_are_bound_and_collide_with_nothing() -> None:
    names = ["get-x", "getX", "get_x", "GET X", "main", "123", "---", "é"]
    text = written(*(LiveTool(name, None) for name in names))
    for line in (
        "tool get_x {", 'tool get_x_2 is "get-x" {', 'tool get_x_3 is "getX" {', "tool main {",
        "agent main_2 {", 'tool get_x_4 is "GET X" {', 'tool _123 is "123" {', 'tool tool is "---" {',
        'tool tool_2 is "é" {',
    ):  # fmt: skip
        assert line in text


def test_a_name_that_no_policy_can_say_is_left_out_and_counted() -> None:
    made = scaffold("desk", {"x\u202ey": LiveTool("x\u202ey", None), "a": LiveTool("a", None)}, "a test")
    assert made.unsayable == ["x\u202ey"]
    assert "# Left out, since no policy can say this name: x\\u202ey" in made.text
    assert [tool.bound for tool in made.tools] == ["a"]


@pytest.mark.parametrize(
    "text", ["a\nallow always", "a\r\n}", "\u2028x", "\x85x", "\x1b[2J", "\u202ex", "\ufffd", "x" * 1_000_000]
)
def test_a_strangers_text_is_one_short_comment(text: str) -> None:
    said = comment(text)
    assert said.startswith("# ") and len(said) < 110 and len(said.splitlines()) == 1
    assert said.isprintable()


def test_a_text_is_quoted_or_refused() -> None:
    assert quoted('a"\\\n\t') == '"a\\"\\\\\\n\\t"'
    assert quoted("a\r") is None and quoted("\x00") is None and quoted("\u202e") is None
    assert name_like("Send-Mail.now") == "send_mail_now"


def test_a_large_description_costs_nothing_much() -> None:
    text = written(LiveTool("get_x", schema(), '}\n" # ' * 200_000))
    assert len(text) < 2_000


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("mcp:npx server --key SECRET", "mcp:npx …"),
        ("mcp:https://me:SECRET@h.example/mcp?token=SECRET", "mcp:https://h.example/mcp"),
        ("tools.json", "tools.json"),
    ],
)
def test_the_file_says_where_the_tools_came_from_without_secrets(what: str, said: str) -> None:
    assert source_of(what) == said


# ---- the command -----------------------------------------------------------------------------------


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    made = [{"name": "get_x", "inputSchema": schema(a={"type": "integer"})}, {"name": "Drop-It"}]
    (tmp_path / "tools.json").write_text(json.dumps({"tools": made}))
    return tmp_path


def test_what_is_written_checks_is_laid_out_and_agrees_with_the_tools(
    tools: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--tools", "tools.json", "--out", "My Desk.fence"]) == 0
    assert "policy my_desk\n" in (tools / "My Desk.fence").read_text()
    assert "2 tools, 0 open" in capsys.readouterr().err
    assert main(["fmt", "--check", "My Desk.fence"]) == 0
    assert main(["check", "My Desk.fence", "--tools", "tools.json"]) == 0
    said = capsys.readouterr().out
    assert said.count("warning[") == said.count("warning[W201]") == 2


def test_check_says_as_data_what_is_undeclared_and_what_is_gone(
    tools: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = "language 1\npolicy desk\ntool get_x { takes a: text  allow always }\n"
    (tools / "desk.fence").write_text(policy + "tool gone { allow always }\n")
    assert main(["check", "desk.fence", "--tools", "tools.json", "--json"]) == 3
    said = json.loads(capsys.readouterr().out)
    assert [one["code"] for one in said["diagnostics"]] == ["W212", "E118", "W218"]
    assert said["live"] is None  # a policy with mistakes has no plan
    (tools / "desk.fence").write_text(
        policy.replace("a: text", "a: integer") + "tool gone { allow always }\n"
    )
    assert main(["check", "desk.fence", "--tools", "tools.json", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["live"] == {"tools": ["get_x", "Drop-It"], "undeclared": ["Drop-It"], "missing": ["gone"]}
    assert main(["check", "desk.fence", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["live"] is None


def test_a_file_that_is_there_stays_as_it_is(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tools / "desk.fence").write_text("mine")
    (tools / "link.fence").symlink_to(tools / "nowhere")
    for name in ("desk.fence", "link.fence"):
        assert main(["init", "--tools", "tools.json", "--out", name]) == 1
        assert "nothing was written over it" in capsys.readouterr().err
    assert (tools / "desk.fence").read_text() == "mine"
    assert not (tools / "nowhere").exists()


def test_json_has_the_text_and_why_each_tool_is_closed(
    tools: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--tools", "tools.json", "--policy", "desk", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["policy"] == "desk" and said["file"] is None and said["left_out"] == []
    assert "policy desk\n" in said["text"]
    assert [(one["name"], one["bound"], one["open"]) for one in said["tools"]] == [
        ("get_x", "get_x", False),
        ("drop_it", "Drop-It", False),
    ]
    assert said["tools"][1]["traits"] == ["destructive"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--tools", "nowhere.json"], "nowhere.json cannot be read"),
        (["--tools", "tools.json", "--tools", "tools.json"], "a second tool called `get_x`"),
        (["--tools", "tools.json", "--policy", "My Desk"], "`My Desk` is no policy's name"),
        (["--tools", "tools.json", "--out", "no/such/folder/x.fence"], "cannot be written"),
        (["--tools", "empty.json"], "there are no tools"),
        ([], "--tools"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
    tools: Path, words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tools / "empty.json").write_text("[]")
    assert main(["init", *words]) == 1
    said = capsys.readouterr()
    assert why in said.err and said.out == ""


def test_a_thousand_names_that_come_to_one_are_numbered_without_counting_from_the_start_each_time() -> None:
    looked = 0

    class Taken(set[str]):
        def __contains__(self, name: object) -> bool:
            nonlocal looked
            looked += 1
            return super().__contains__(name)

    names = Names()
    names._taken = Taken()
    given = [names.take(name_like(chr(0x4E00 + number))) for number in range(1000)]
    assert given[:2] == ["tool", "tool_2"] and given[-1] == "tool_1000" and len(set(given)) == 1000
    assert looked < 3000


def test_with_the_marks_of_its_remarks_taken_away_the_policy_loads_and_asks() -> None:
    text = written(LiveTool("drop_table", schema(("name",), name={"type": "string"})))
    taken = "\n".join(re.sub(r"^(\s*)#   ", r"\1", line) for line in text.splitlines())
    loaded = load_text(taken)
    assert loaded.plan is not None and not [found for found in loaded.diagnostics if found.is_error]
    assert loaded.plan.tools["drop_table"].asks and loaded.plan.tools["drop_table"].allows
