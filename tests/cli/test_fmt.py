"""`ringfence fmt`: files in the one layout, whole or not at all."""

import json
import os
from pathlib import Path

import pytest

from ringfence.__main__ import main
from ringfence.dsl.load import load

LOOSE = (
    '# top\nlanguage 1 policy p # name\nuse "words.fence"\ntool a { takes x:text  allow when x in hosts }\n'
)
LAID = """\
# top
language 1
policy p  # name
use "words.fence"
tool a {
  takes x: text
  allow when x in hosts
}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    (tmp_path / "words.fence").write_text('language 1\nset hosts = ["a"]\n')
    path = tmp_path / "p.fence"
    path.write_text(LOOSE)
    return path


def test_a_file_is_written_in_the_one_layout_and_means_the_same(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load(policy).plan
    assert main(["fmt", str(policy)]) == 0
    assert capsys.readouterr().out == f"{policy}: formatted\n"
    assert policy.read_text() == LAID
    after = load(policy).plan
    assert before is not None and after is not None and before.digest == after.digest
    assert main(["fmt", str(policy), "--check"]) == 0
    assert capsys.readouterr().out == ""


def test_check_and_diff_write_nothing(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", "--check", str(policy)]) == 2
    assert main(["fmt", "--diff", str(policy)]) == 0
    out = capsys.readouterr().out
    assert f"{policy}: would change" in out
    assert "+policy p  # name" in out and "-tool a { takes x:text  allow when x in hosts }" in out
    assert policy.read_text() == LOOSE


def test_a_folder_is_every_policy_below_it(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (policy.parent / "notes.txt").write_text("no policy")
    assert main(["fmt", "--json", str(policy.parent), str(policy)]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert [(Path(one["file"]).name, one["status"]) for one in files] == [
        ("p.fence", "formatted"),
        ("words.fence", "unchanged"),
    ]


@pytest.mark.parametrize(
    "broken", ["language 1\npolicy p\ntool a { alow  always }\n", 'policy "x', "tool a {", "\udcff"]
)
def test_a_file_that_cannot_be_read_whole_is_left_as_it_is(
    policy: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = policy.parent / "q.fence"
    other.write_bytes(broken.encode("utf-8", "surrogateescape"))
    assert main(["fmt", str(other), str(policy)]) == 3
    said = capsys.readouterr()
    assert said.out == f"{other}: unreadable\n{policy}: formatted\n"
    assert "error[E00" in said.err
    assert other.read_bytes() == broken.encode("utf-8", "surrogateescape")


def test_a_link_stays_a_link_and_the_mode_stays(policy: Path) -> None:
    policy.chmod(0o640)
    link = policy.parent / "link.fence"
    link.symlink_to(policy)
    assert main(["fmt", str(link)]) == 0
    assert link.is_symlink() and policy.read_text() == LAID
    assert policy.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in policy.parent.iterdir()) == ["link.fence", "p.fence", "words.fence"]


def test_a_file_that_cannot_be_replaced_is_left_whole(
    policy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(fresh: str, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    assert main(["fmt", str(policy)]) == 1
    assert "Permission denied" in capsys.readouterr().err
    assert policy.read_text() == LOOSE
    assert sorted(path.name for path in policy.parent.iterdir()) == ["p.fence", "words.fence"]


def test_a_path_that_is_not_there_is_refused_before_anything_is_written(policy: Path) -> None:
    assert main(["fmt", str(policy), str(policy.parent / "gone.fence")]) == 1
    assert policy.read_text() == LOOSE


def test_a_layout_that_would_mean_something_else_is_never_written(
    policy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ringfence.dsl import format as formatter

    monkeypatch.setattr(
        formatter, "format_text", lambda text, name: formatter.Formatted(LAID.replace("x in", "x not in"), ())
    )
    assert main(["fmt", str(policy)]) == 1
    assert "means something else" in capsys.readouterr().err
    assert policy.read_text() == LOOSE
