"""`ringfence test`: which files, what is said, which exit code."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ringfence.__main__ import main

POLICY = """language 1
policy rows
tool query {
  takes table: text
  allow when table in ["users", "orders"]
  rate 2 per minute for each session
}
"""
GOOD = """language 1
use "rows.fence"
test "users may be read" { call query(table: "users") is allowed }
test "payments may not" { call query(table: "payments") is denied by query.allow }
"""
BAD = """language 1
use "rows.fence"
test "payments may be read" {
  call query(table: "payments") is allowed
}
test "orders may be read" { call query(table: "orders") is allowed }
"""
WRONG = 'language 1\nuse "rows.fence"\ntest "x" { call qery(table: "users") is allowed }\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("rows.fence", POLICY)
    write("good_test.fence", GOOD)
    return tmp_path


def write(name: str, text: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def data(capsys: pytest.CaptureFixture[str], *words: str, code: int) -> Any:
    assert main(["test", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_tests_that_pass_are_counted_and_end_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "good_test.fence"]) == 0
    assert capsys.readouterr().out == "good_test.fence: 2 passed\n"
    document = data(capsys, "good_test.fence", code=0)
    assert (document["passed"], document["failed"], document["coverage"]) == (2, 0, None)
    assert [test["name"] for test in document["files"][0]["tests"]] == [
        "users may be read",
        "payments may not",
    ]


def test_a_test_that_fails_is_drawn_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    write("bad_test.fence", BAD)
    assert main(["test", "bad_test.fence", "good_test.fence"]) == 2
    said = capsys.readouterr().out
    assert said.startswith("failed: payments may be read\n --> bad_test.fence:4:3\n")
    assert "expected: allowed" in said and "got: denied" in said and "rows.fence:5:3" in said
    assert said.endswith("bad_test.fence: 1 passed, 1 failed\ngood_test.fence: 2 passed\n")
    document = data(capsys, "bad_test.fence", code=2)
    failure = document["files"][0]["tests"][0]["failure"]
    assert (failure["line"], failure["expected"], failure["got"]) == (4, "allowed", "denied")
    assert failure["reasons"][0]["name"] == "query.allow"


def test_a_policy_that_does_not_load_ends_with_3_whatever_the_others_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("wrong_test.fence", WRONG)
    write("bad_test.fence", BAD)
    assert main(["test", "wrong_test.fence", "bad_test.fence"]) == 3
    said = capsys.readouterr().out
    assert "error[E101]" in said and "did you mean `query`?" in said
    assert "wrong_test.fence: the policy has mistakes" in said and "1 failed" in said
    document = data(capsys, "wrong_test.fence", code=3)
    assert not document["files"][0]["valid"]
    assert document["files"][0]["diagnostics"][0]["code"] == "E101"


def test_a_folder_stands_for_all_its_test_files_each_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("deep/er/more_test.fence", GOOD.replace('"rows.fence"', '"../../rows.fence"'))
    assert main(["test", str(folder), "good_test.fence"]) == 0
    assert capsys.readouterr().out.count("2 passed") == 2


def test_where_there_is_no_test_nothing_has_passed(capsys: pytest.CaptureFixture[str]) -> None:
    write("empty/rows.fence", POLICY)
    for words in (["empty"], ["rows.fence"], ["missing_test.fence"]):
        assert main(["test", *words]) == 1
        said = capsys.readouterr()
        assert said.out == "" and words[0] in said.err


def test_tests_may_stand_in_the_policy_and_those_of_used_files_are_not_run_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("rows.fence", POLICY + 'test "own" { call query(table: "orders") is allowed }\n')
    assert main(["test", "rows.fence", "good_test.fence"]) == 0
    assert capsys.readouterr().out == "rows.fence: 1 passed\ngood_test.fence: 2 passed\n"


def test_coverage_joins_what_all_files_reach(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "good_test.fence", "--coverage"]) == 0
    assert capsys.readouterr().out.endswith(
        "coverage: 1 of 2 clauses reached\n  not reached: rows.fence:6:3: query.rate\n"
    )
    users = 'call query(table: "users") is allowed '
    write(
        "rate_test.fence",
        f'language 1\nuse "rows.fence"\ntest "r" {{ {users * 2} call query(table: "users") is denied }}\n',
    )
    document = data(capsys, "good_test.fence", "rate_test.fence", "--coverage", code=0)
    assert document["coverage"] == {"clauses": 2, "reached": 2, "unreached": []}


def test_a_ceiling_may_be_pinned_over_every_policy(capsys: pytest.CaptureFixture[str]) -> None:
    write("top.fence", 'language 1\nceiling top\nrule no_users: deny query when table == "users"\n')
    assert main(["test", "good_test.fence", "--ceiling", "top.fence"]) == 2
    assert "no_users" in capsys.readouterr().out
    assert main(["test", "good_test.fence", "--ceiling", "gone.fence"]) == 1
    assert "gone.fence cannot be read" in capsys.readouterr().err


def test_junit_holds_every_test_and_says_why_one_failed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("bad_test.fence", BAD.replace("payments may be read", "payments & <b> may be read"))
    write("wrong_test.fence", WRONG)
    files = ["good_test.fence", "bad_test.fence", "wrong_test.fence"]
    assert main(["test", *files, "--junit", "out.xml"]) == 3
    suites = ElementTree.fromstring((folder / "out.xml").read_bytes())
    counts = [[suite.get(name) for name in ("name", "tests", "failures", "errors")] for suite in suites]
    assert counts == [
        ["good_test.fence", "2", "0", "0"],
        ["bad_test.fence", "2", "1", "0"],
        ["wrong_test.fence", "1", "0", "1"],
    ]
    failed = suites[1][0]
    assert (failed.get("line"), failed[0].tag) == ("3", "failure")
    assert failed[0].get("message") == "expected: allowed; got: denied"
    assert "bad_test.fence:4:3" in (failed[0].text or "")
    assert suites[2][0][0].tag == "error" and "E101" in (suites[2][0][0].text or "")
    assert capsys.readouterr().out  # and it is said as well


def test_an_outcome_that_cannot_be_written_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "good_test.fence", "--junit", "no/such/folder.xml"]) == 1
    assert "cannot be written" in capsys.readouterr().err
