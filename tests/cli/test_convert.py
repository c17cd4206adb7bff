"""`ringfence convert` writes a policy that means what the YAML says, or says what it cannot know."""

import json
from io import StringIO
from pathlib import Path

import pytest

from ringfence.__main__ import main
from ringfence.cli.conversion.parameters import takes
from ringfence.cli.exits import CommandError
from ringfence.dsl.load import load_text

TABLE = """\
policy: from_the_article
tools:
  send_email:
    capabilities: [send_message]
    rate_limit: 10/hour
    blast_radius: workspace
  query_database:
    capabilities: [read_only]
    allowed_tables: [users, orders, products]
    max_rows: 1000
  write_to_crm:
    capabilities: [modify]
    requires: human_approval
    audit_level: full
"""
SCHEMAS = [
    {
        "name": "send_email",
        "inputSchema": {
            "properties": {
                "to": {"type": "array", "items": {"type": "string", "format": "email"}},
                "body": {"type": "string"},
                "workspace": {"type": "string"},
            },
            "required": ["to", "body", "workspace"],
        },
    },
    {
        "name": "query_database",
        "inputSchema": {
            "properties": {"table": {"type": "string"}, "limit": {"type": "integer"}},
            "required": ["table", "limit"],
        },
    },
]
APPROVER = ("--approver", "write_to_crm=owner:crm-owners")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tools.yaml").write_text(TABLE)
    (tmp_path / "tools.json").write_text(json.dumps({"tools": SCHEMAS}))
    return tmp_path


def _convert(folder: Path, *more: str) -> int:
    return main(["convert", str(folder / "tools.yaml"), "--tools", str(folder / "tools.json"), *more])


def test_the_policy_has_every_bound_of_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _convert(folder, *APPROVER) == 0
    text = capsys.readouterr().out
    plan = load_text(text).plan
    assert plan is not None and plan.policy == "from_the_article"
    mail, query, crm = (plan.tools[name] for name in ("send_email", "query_database", "write_to_crm"))
    assert [(b.limit, b.period_ns, b.halts) for b in mail.budgets] == [(10, 3_600_000_000_000, True)]
    assert "allow when workspace == principal.workspace" in text
    assert 'allow when table in ["users", "orders", "products"] and limit <= 1000' in text
    assert query.obligations.max_rows == 1000
    assert [ask.approver for ask in crm.asks] == ["owner"] and crm.obligations.audit == "full"
    assert plan.approvers["owner"].group == "crm-owners" and plan.approvers["owner"].never_requester


def test_a_gate_without_an_approver_is_a_question(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _convert(folder) == 3
    said = capsys.readouterr()
    assert not said.out and "`write_to_crm` requires an approval and nobody is named" in said.err


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_question_is_asked(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "tools.yaml").write_text("ping:\n  capabilities: [knock]\n  requires: human_approval\n")
    monkeypatch.setattr("sys.stdin", Terminal("owner:crm-owners\nread\n"))
    assert _convert(folder) == 0
    said = capsys.readouterr()
    assert "Who approves `ping`? NAME:GROUP" in said.err and "What is `knock`" in said.err
    plan = load_text(said.out).plan
    assert plan is not None and plan.approvers["owner"].group == "crm-owners"


@pytest.mark.parametrize("typed", ["", "\n", "owner:crm-owners\n", "owner:crm-owners\n\n"])
def test_a_question_that_is_not_answered_writes_nothing(
    folder: Path, typed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "tools.yaml").write_text("ping:\n  capabilities: [knock]\n  requires: human_approval\n")
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert _convert(folder) == 3
    assert capsys.readouterr().out == ""


def test_every_mistake_is_said_with_its_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "tools.yaml").write_text(
        TABLE.replace("rate_limit: 10/hour", "rate_limit: often")
        .replace("max_rows: 1000", "max_row: 1000")
        .replace("audit_level: full", "audit_level: full\n    audit_level: minimal")
    )
    assert _convert(folder, *APPROVER) == 3
    said = capsys.readouterr().err
    assert "line 5: expected a rate such as `10/hour`" in said
    assert "line 10: in `query_database`: unknown key `max_row` (did you mean `max_rows`?)" in said
    assert "line 15: `audit_level` stands twice in `write_to_crm`" in said


def test_a_bound_on_a_parameter_nobody_knows_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(folder / "tools.yaml"), *APPROVER]) == 1
    assert "no such parameter of it is known" in capsys.readouterr().err


def test_a_capability_that_says_nothing_of_itself_is_a_question(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "tools.yaml").write_text("ping:\n  capabilities: [knock]\n")
    assert _convert(folder) == 3
    assert "what is the capability `knock`" in capsys.readouterr().err
    assert _convert(folder, "--capability", "knock=read") == 0
    assert "capability knock is read" in capsys.readouterr().out


def test_no_file_is_written_over(folder: Path) -> None:
    out = folder / "policy.fence"
    out.write_text("mine")
    assert _convert(folder, *APPROVER, "--out", str(out)) == 1
    assert out.read_text() == "mine"
    out.unlink()
    assert _convert(folder, *APPROVER, "--out", str(out)) == 0
    assert load_text(out.read_text()).plan is not None


@pytest.mark.parametrize(
    "text", ["", "- a\n", "tools: []\n", "a: b: c\n", "tools:\n  x:\n    - y\n", "x: &a [*a]\n"]
)
def test_what_is_no_table_is_refused(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "tools.yaml").write_text(text)
    assert _convert(folder) == 3
    assert capsys.readouterr().out == ""


def test_json_gives_the_text_and_its_digest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _convert(folder, *APPROVER, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    plan = load_text(said["text"]).plan
    assert plan is not None and plan.digest == said["digest"]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"to": {"type": ["string", "null"]}}, "to: text optional"),
        (
            {"to": {"type": ["null", "integer"]}, "cc": {"type": "number"}},
            "to: integer optional, cc: number optional",
        ),
    ],
)
def test_a_parameter_that_may_be_null_is_optional(schema: dict[str, object], said: str) -> None:
    assert takes({"properties": schema, "required": ["to"]}) == said


@pytest.mark.parametrize(
    "schema",
    [
        {"to": {"type": ["string", "integer"]}},
        {"To-Whom": {"type": "string"}},
        {"x } tool y { allow always": {"type": "string"}},
    ],
)
def test_a_parameter_that_no_policy_can_say_is_refused(schema: dict[str, object]) -> None:
    with pytest.raises(CommandError, match=r"no policy can|that a policy can"):
        takes({"properties": schema})
