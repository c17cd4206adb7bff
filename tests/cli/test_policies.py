"""`check` and `explain` over policy files, `replay` over a run that a real guard made."""

import json
from pathlib import Path
from typing import Any

import pytest

from ringfence import DeniedError, Guard, Principal, SettingsError, ToolCall
from ringfence.__main__ import main
from ringfence.engine.seams.settings import Settings

POLICY = """language 1
policy rows
tool query {
  takes table: text, limit: integer
  allow when table in ["users", "orders"]
  require row_cap: limit >= 1 and limit <= 1000 because "at most 1000 rows a query"
  rate 60 per minute for each workspace
}
"""
WRONG = (
    POLICY.replace("allow when", "alow when") + "tool other { takes limit: integer allow when limt == 1 }\n"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.fence").write_text(POLICY, "utf-8")
    (tmp_path / "wrong.fence").write_text(WRONG, "utf-8")
    return tmp_path


def data(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_policy_without_mistakes_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "rows.fence"]) == 0
    assert "rows: fine (1 tool, sha256:" in capsys.readouterr().out
    document = data(capsys, "check", "rows.fence")
    assert (document["valid"], document["policy"], document["diagnostics"]) == (True, "rows", [])


def test_a_ceiling_alone_is_fine_and_has_no_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "org.fence").write_text("language 1\nceiling org\ncapability send is external\n")
    assert main(["check", "org.fence"]) == 0
    assert capsys.readouterr().out == "org.fence: fine (a ceiling)\n"
    said = data(capsys, "check", "org.fence")
    assert (said["valid"], said["policy"], said["diagnostics"]) == (True, None, [])


def test_a_mistake_in_a_used_file_is_said_with_that_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "words.fence").write_text("language 1\nset tables = [1 2]\n")
    (folder / "uses.fence").write_text('language 1\npolicy p\nuse "words.fence"\n')
    assert main(["check", "uses.fence"]) == 3
    assert "--> words.fence:2:17" in capsys.readouterr().out
    (report,) = data(capsys, "check", "uses.fence", code=3)["diagnostics"]
    assert (report["file"], report["line"], report["column"]) == ("words.fence", 2, 17)
    assert (report["start"], report["end"], report["page"]) == (27, 28, "docs/errors/E003.md")


def test_every_mistake_is_drawn_and_the_policy_is_invalid(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "wrong.fence"]) == 3
    text = capsys.readouterr().out
    assert "did you mean `allow`?" in text and "`limt`" in text and "wrong.fence:5:3" in text
    document = data(capsys, "check", "wrong.fence", code=3)
    assert not document["valid"] and document["policy"] is None
    assert {(found["line"], found["error"]) for found in document["diagnostics"]} == {(5, True), (9, True)}


def test_a_policy_that_does_not_load_is_not_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "wrong.fence"]) == 3
    said = capsys.readouterr()
    assert said.out == "" and "E003" in said.err


def test_explain_prints_the_plan_and_its_data_is_the_core(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "rows.fence"]) == 0
    assert "deny when not" in capsys.readouterr().out
    document = data(capsys, "explain", "rows.fence")
    assert document["digest"].startswith("sha256:") and document["core"]


CEILING = """language 1
ceiling org
rule r: deny any tool that is money
guarantee g: never any tool unless approved by anyone
"""


def test_a_guarantee_is_said_to_be_kept_and_not_proved(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "sure.fence").write_text(POLICY + "guarantee g: never query when limit > 9\n", "utf-8")
    assert main(["check", "sure.fence"]) == 0
    said = capsys.readouterr().out
    assert "note: guarantee g is checked and kept; this version does not prove it" in said
    document = data(capsys, "check", "sure.fence")
    assert document["diagnostics"] == []
    assert [(one["name"], one["proved"]) for one in document["guarantees"]] == [("g", False)]


def test_a_ceiling_alone_is_fine_and_is_not_explained(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "org.fence").write_text(CEILING, "utf-8")
    assert main(["check", "org.fence"]) == 0
    assert "org.fence: fine" in capsys.readouterr().out
    assert data(capsys, "check", "org.fence")["valid"]
    assert main(["explain", "org.fence"]) == 1
    assert "decides nothing of itself" in capsys.readouterr().err


def test_the_data_of_explain_says_what_each_agent_may_do(capsys: pytest.CaptureFixture[str]) -> None:
    (sentences,) = data(capsys, "explain", "rows.fence")["agents"].values()
    assert sentences[0] == "Agent main holds no capability."
    assert sentences[1].startswith("It may call query when table in")


@pytest.mark.parametrize("name", ["none.fence", ".", "bytes.fence"])
def test_a_file_that_cannot_be_read_is_one_sentence(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bytes.fence").write_bytes(b"language 1\npolicy \xff\n")
    code = main(["check", name])
    said = capsys.readouterr()
    assert code in (1, 3) and name in said.out + said.err and "Traceback" not in said.err


def test_doctor_looks_at_the_policy_that_the_settings_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "ringfence.toml").write_text('policy = "rows.fence"\n')
    assert data(capsys, "doctor")["fine"]
    (folder / "ringfence.toml").write_text('policy = "wrong.fence"\n')
    (broken,) = [one for one in data(capsys, "doctor", code=1)["findings"] if one["state"] == "broken"]
    assert broken["what"] == "policy" and "ringfence check" in broken["help"]


@pytest.fixture
def recorded(folder: Path) -> Path:
    """The log of a run of two calls, one allowed and one denied."""
    guard = Guard.load("rows.fence", store="sqlite:///ringfence.db")
    with guard.run(principal=Principal(user="alice", workspace="w1"), prompt="look") as run:
        guard.execute(run, ToolCall("query", {"table": "users", "limit": 5}, "c1"), lambda arguments: [])
        with pytest.raises(DeniedError):
            guard.execute(
                run, ToolCall("query", {"table": "users", "limit": 5000}, "c2"), lambda arguments: []
            )
    guard.close()
    return folder / "ringfence.db"


def test_a_run_replays_to_what_was_decided(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "last"]) == 0
    assert "identical" in capsys.readouterr().out
    document = data(capsys, "replay", "last")
    assert (document["identical"], document["decisions"], document["divergence"]) == (True, 2, None)


def test_a_changed_argument_diverges_and_the_log_is_found_to_be_changed(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = recorded.read_bytes()
    assert log.count(b'"limit":5,') == 1
    recorded.write_bytes(log.replace(b'"limit":5,', b'"limit":0,'))
    assert main(["replay", "last"]) == 2
    assert "diverges" in capsys.readouterr().out
    assert data(capsys, "verify", code=2)["fault"]["event"].endswith(":3")


def test_a_whole_run_can_be_shown_and_asked_about(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "last"]) == 0
    text = capsys.readouterr().out
    assert "user: look" in text and "denied by query.row_cap at rows.fence:6:3" in text
    assert main(["why", "last", "c2"]) == 0
    assert "require row_cap: limit >= 1" in capsys.readouterr().out


ASKING = """language 1
policy asking
capability send is external
function is_customer(address: email) gives boolean from "acme_plugins"
tool mail {
  needs send
  takes to: email, body: text
  allow when is_customer(to)
  redact body with pii
  redact body with names
  rate 1 per hour
}
"""


def test_check_says_which_plugins_are_not_installed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "asking.fence").write_text(ASKING, "utf-8")
    said = data(capsys, "check", "asking.fence")
    assert said["valid"], "the rest of the policy stands"
    assert [(one["code"], one["line"]) for one in said["diagnostics"]] == [("W216", 4), ("W216", 10)]


CEILING = """language 1
ceiling org
capability send is external
rule quiet: deny any tool that is external
"""


def test_a_policy_is_checked_and_loaded_under_the_ceilings_that_the_settings_pin(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = (
        "language 1\npolicy free\ncapability send is external\ntool mail {\n  needs send\n  allow always\n}\n"
    )
    (folder / "free.fence").write_text(free, "utf-8")
    (folder / "org.fence").write_text(CEILING, "utf-8")
    alone = data(capsys, "check", "free.fence")["digest"]
    (folder / "ringfence.toml").write_text('ceilings = "org.fence"\nstore = "memory:"\n', "utf-8")
    pinned = data(capsys, "check", "free.fence")["digest"]
    assert pinned != alone
    assert data(capsys, "check", "org.fence")["valid"], "a pinned ceiling may be checked itself"
    guard = Guard.load("free.fence")
    assert guard.plan.digest == pinned and guard.plan.layers == ("org",)
    run = guard.begin_run()
    with pytest.raises(DeniedError) as denied:
        guard.execute(run, ToolCall("mail", {}), lambda _: "sent")
    assert denied.value.reason is not None and denied.value.reason.name == "quiet"
    guard.close()
    monkeypatch.setenv("RINGFENCE_CEILINGS", "none.fence")
    assert main(["check", "free.fence"]) == 1
    assert "none.fence" in capsys.readouterr().err


def test_a_mistake_in_the_settings_is_said_although_a_check_does_not_need_the_key(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "free.fence").write_text("language 1\npolicy free\n", "utf-8")
    (folder / "ringfence.toml").write_text("[limits]\nqueue_event = 5\nsink_s = 0\n", "utf-8")
    with pytest.raises(SettingsError) as error:
        Settings.load()
    for command in ("check", "explain", "blast"):
        assert main([command, "free.fence"]) == 1
        said = capsys.readouterr()
        assert said.out == "" and said.err.startswith(f"ringfence: {error.value}\n")
        assert "did you mean `queue_events`?" in said.err and "must be greater than 0" in said.err


def test_plugins_shows_what_functions_and_redactors_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row["functions"] for row in data(capsys, "plugins")}
    assert rows["redact_pii"] == ["redactor pii"]
    assert rows["sql_functions"] == [
        "sql_is_read_only(text: text) gives boolean",
        "sql_tables(text: text) gives list of text",
    ]
    assert main(["plugins"]) == 0
    assert "redactor pii" in capsys.readouterr().out
