"""Policies made from several files: `use`, `under`, ceilings that the host pins."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.dsl.diagnostic import as_json, draw
from ringfence.dsl.layers import Gathered, gather
from ringfence.dsl.load import load, load_files, load_text
from ringfence.dsl.plan import Plan
from ringfence.dsl.shelves import Disk, Reading
from ringfence.dsl.syntax import SetOf, Use
from tests.dsl.front.said import said
from tests.dsl.front.underlined import underlined

MAIN = 'language 1\npolicy p\nuse "words.fence"\ntool look { takes x: text  allow when x in hosts }\n'
WORDS = 'language 1\nset hosts = ["a.example"]\n'
CEILING = "language 1\nceiling c\ncapability send is external\n"


def reader(files: dict[str, str]) -> Callable[[str], str]:
    return files.__getitem__


def gathered(files: dict[str, str], *pinned: str) -> Gathered:
    return gather("p.fence", files["p.fence"], Reading(reader(files)), pinned)


def reports(files: dict[str, str], *pinned: str) -> list[tuple[str, str, str]]:
    """Return code, file and underlined text of every report."""
    whole = gathered(files, *pinned)
    found = {report for layer in (whole.policy, *whole.ceilings) for report in layer.found}
    return sorted((r.code, r.source.place(r.span).file, underlined(r)) for r in found)


def plan(text: str, files: dict[str, str]) -> Plan:
    loaded = load_text(text, "p.fence", read=reader(files))
    assert loaded.plan is not None, draw(loaded.diagnostics)
    return loaded.plan


def test_what_a_file_uses_counts_as_if_it_stood_there() -> None:
    whole = plan(MAIN, {"words.fence": WORDS})
    assert whole.digest == plan(MAIN.replace('use "words.fence"', 'set hosts = ["a.example"]'), {}).digest
    nodes = gathered({"p.fence": MAIN, "words.fence": WORDS}).policy.document.declarations
    assert [type(node) for node in nodes[2:4]] == [Use, SetOf]


def test_a_mistake_in_a_used_file_is_drawn_with_that_file() -> None:
    loaded = load_text(MAIN, "p.fence", read=reader({"words.fence": "language 1\n\nset hosts = [1\n"}))
    assert loaded.plan is None
    (report,) = loaded.diagnostics
    assert draw([report]) == (
        "error[E003]: did not expect the policy to end here\n"
        " --> words.fence:3:15\n"
        "  |\n"
        "3 | set hosts = [1\n"
        "  |               ^ expected `,` or `]`"
    )
    (data,) = as_json([report])
    assert (data["file"], data["line"], data["column"], data["end_line"]) == ("words.fence", 3, 15, 3)


def test_a_type_clash_with_a_used_declaration_stands_where_the_value_is_used() -> None:
    words = WORDS.replace('"a.example"', "1")
    (report,) = load_text(MAIN, "p.fence", read=reader({"words.fence": words})).diagnostics
    assert (report.code, underlined(report)) == ("E110", "in")
    assert str(report.source.place(report.span)) == "p.fence:4:41"


def test_paths_begin_at_the_file_that_says_them() -> None:
    files = {
        "p.fence": 'language 1\npolicy p\nuse "org/a.fence"',
        "org/a.fence": 'language 1\nuse "b.fence"\nuse "../c.fence"',
        "org/b.fence": "language 1\nset b = [1]",
        "c.fence": "language 1\nset c = [1]",
    }
    whole = gathered(files)
    assert whole.policy.found == ()
    assert [said(node.name) for node in whole.policy.document.declarations if isinstance(node, SetOf)] == [
        "b",
        "c",
    ]
    assert [file.name for file in whole.files] == ["p.fence", "org/a.fence", "org/b.fence", "org/../c.fence"]
    assert {file.role for file in whole.files[1:]} == {"use"}


def test_a_file_that_is_used_twice_counts_once() -> None:
    files = {
        "p.fence": 'language 1\npolicy p\nuse "a.fence"\nuse "./words.fence"',
        "a.fence": 'language 1\nuse "words.fence"',
        "words.fence": WORDS,
    }
    nodes = gathered(files).policy.document.declarations
    assert reports(files) == []
    assert sum(isinstance(node, SetOf) for node in nodes) == 1


@pytest.mark.parametrize(
    ("files", "where"),
    [
        ({"p.fence": 'language 1\npolicy p\nuse "p.fence"'}, ("p.fence", '"p.fence"')),
        (
            {
                "p.fence": 'language 1\npolicy p\nuse "a.fence"',
                "a.fence": 'language 1\nuse "b.fence"',
                "b.fence": 'language 1\nuse "./a.fence"',
            },
            ("b.fence", '"./a.fence"'),
        ),
        (
            {
                "p.fence": 'language 1\npolicy p\nuse "x/a.fence"',
                "x/a.fence": 'language 1\nuse "../p.fence"',
            },
            ("x/a.fence", '"../p.fence"'),
        ),
    ],
)
def test_a_circle_is_reported_at_the_string_that_closes_it(
    files: dict[str, str], where: tuple[str, str]
) -> None:
    assert reports(files) == [("E132", *where)]


@pytest.mark.parametrize("named", ['use "gone.fence"', 'use ""', 'use "/"', 'use "org"'])
def test_a_file_that_cannot_be_read_is_reported_at_the_string(tmp_path: Path, named: str) -> None:
    (tmp_path / "org").mkdir()
    path = tmp_path / "p.fence"
    path.write_text(f"language 1\npolicy p\n{named}\n")
    loaded = load(path)
    (report,) = loaded.diagnostics
    assert loaded.plan is None
    assert (report.code, underlined(report), bool(report.help)) == ("E132", named.removeprefix("use "), True)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "words.fence")
    (tmp_path / "p.fence").write_text(MAIN)
    (report,) = load(tmp_path / "p.fence").diagnostics
    assert (report.code, report.label) == ("E132", "it is no regular file")


def test_a_used_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringfence.dsl.shelves.LARGEST_BYTES", 20)
    (tmp_path / "words.fence").write_text(WORDS)
    source = 'language 1\npolicy p\nuse "words.fence"'
    report, *_ = gather(str(tmp_path / "p.fence"), source, Disk()).policy.found
    assert (report.code, report.label) == ("E132", "it is larger than 20 bytes")


def test_a_used_file_that_is_not_utf8_is_a_report(tmp_path: Path) -> None:
    (tmp_path / "words.fence").write_bytes(WORDS.encode() + b"# \xff\n")
    (tmp_path / "p.fence").write_text(MAIN)
    (report,) = load(tmp_path / "p.fence").diagnostics
    assert report.message == "the byte 0xFF is not UTF-8"
    assert report.source.place(report.span).file == str(tmp_path / "words.fence")


def test_without_files_nothing_can_be_used() -> None:
    (report,) = load_text(MAIN).diagnostics
    assert (report.code, report.label) == ("E132", "the policy is loaded from its text, without files")


def test_a_policy_is_made_from_a_bounded_number_of_files() -> None:
    files = {f"{n}.fence": f'language 1\nuse "{n + 1}.fence"' for n in range(200)}
    files["p.fence"] = 'language 1\npolicy p\nuse "0.fence"'
    ((code, file, _),) = reports(files)
    assert (code, file) == ("E132", "98.fence")


@pytest.mark.parametrize(
    ("words", "code", "where"),
    [
        ("set hosts = []", "E003", "set hosts = []"),
        ("", "E003", ""),
        ("set hosts = []\nlanguage 1", "E003", "set hosts = []"),
        ("language 2", "E003", "2"),
        ("language 1\nlanguage 1", "E115", "language 1"),
    ],
)
def test_a_used_file_says_its_language_first_and_once(words: str, code: str, where: str) -> None:
    assert reports({"p.fence": MAIN, "words.fence": words}) == [(code, "words.fence", where)]


def test_under_names_a_layer_of_its_own() -> None:
    files = {
        "p.fence": 'language 1\npolicy p under "org/c.fence"',
        "org/c.fence": CEILING + 'use "w.fence"',
        "org/w.fence": WORDS,
    }
    whole = gathered(files)
    assert reports(files) == []
    (ceiling,) = whole.ceilings
    assert [type(node).__name__ for node in ceiling.document.declarations] == [
        "Edition",
        "PolicyHeader",
        "Capability",
        "Use",
        "SetOf",
    ]
    assert len(whole.policy.document.declarations) == 2
    assert [(file.role, file.name) for file in whole.files] == [
        ("policy", "p.fence"),
        ("ceiling", "org/c.fence"),
        ("use", "org/w.fence"),
    ]
    start = ceiling.document.file.start
    assert ceiling.document.source.text[start:].startswith(CEILING)


def test_words_that_two_layers_use_are_in_both() -> None:
    files = {"p.fence": MAIN, "c.fence": CEILING + 'use "words.fence"', "words.fence": WORDS}
    whole = gathered(files, "c.fence")
    for layer in (whole.policy, *whole.ceilings):
        assert sum(isinstance(node, SetOf) for node in layer.document.declarations) == 1


@pytest.mark.parametrize("pinned", ["org/c.fence", "./org/c.fence", "x/../org/c.fence"])
def test_a_ceiling_that_is_named_and_pinned_counts_once(pinned: str) -> None:
    files = {"p.fence": 'language 1\npolicy p under "org/c.fence"', "org/c.fence": CEILING}
    assert len(gathered(files, pinned).ceilings) == 1


def test_two_names_of_one_file_are_one_ceiling_on_disk_and_in_the_record(tmp_path: Path) -> None:
    (tmp_path / "c.fence").write_text(CEILING)
    (tmp_path / "link.fence").symlink_to(tmp_path / "c.fence")
    text = 'language 1\npolicy p under "link.fence"'
    whole = gather(str(tmp_path / "p.fence"), text, Disk(), [str(tmp_path / "c.fence")])
    assert len(whole.ceilings) == 1
    assert sorted(Path(file.name).name for file in whole.files) == ["c.fence", "link.fence", "p.fence"]


def test_a_missing_ceiling_is_an_error_at_the_string() -> None:
    assert reports({"p.fence": 'language 1\npolicy p under "gone.fence"'}) == [
        ("E132", "p.fence", '"gone.fence"')
    ]


def test_a_policy_is_no_ceiling() -> None:
    files = {"p.fence": 'language 1\npolicy p under "q.fence"', "q.fence": "language 1\npolicy q"}
    assert reports(files) == [("E132", "p.fence", '"q.fence"')]
    files["p.fence"] = "language 1\npolicy p"
    assert reports(files, "q.fence") == [("E132", "q.fence", "q")]


def test_a_pinned_ceiling_that_cannot_be_read_raises(tmp_path: Path) -> None:
    (tmp_path / "p.fence").write_text("language 1\npolicy p\n")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "p.fence", ceilings=[tmp_path / "gone.fence"])


def test_a_plan_is_made_again_from_its_files_alone(tmp_path: Path) -> None:
    (tmp_path / "p.fence").write_text(MAIN)
    (tmp_path / "words.fence").write_text(WORDS)
    first = load(tmp_path / "p.fence").plan
    assert first is not None
    assert (first.text, first.files[0].text, len(first.files)) == (MAIN, MAIN, 2)
    (tmp_path / "words.fence").unlink()
    again = load_files(first.files).plan
    assert again is not None
    assert (again.digest, again.files, again.file) == (first.digest, first.files, first.file)


def test_files_that_are_not_in_the_record_are_reported_not_read(tmp_path: Path) -> None:
    (tmp_path / "p.fence").write_text(MAIN)
    (tmp_path / "words.fence").write_text(WORDS)
    first = load(tmp_path / "p.fence").plan
    assert first is not None
    assert [report.code for report in load_files(first.files[:1]).diagnostics] == ["E132"]


def test_a_plan_under_ceilings_is_made_again_from_its_files_alone(tmp_path: Path) -> None:
    policy = tmp_path / "p.fence"
    policy.write_text(
        'language 1\npolicy p under "org/c.fence"\nuse "words.fence"\ncapability mail is external\n'
        "tool look { needs mail  takes x: text  allow when x in hosts }\n"
    )
    (tmp_path / "words.fence").write_text(WORDS)
    (tmp_path / "org").mkdir()
    (tmp_path / "org" / "c.fence").write_text(
        'language 1\nceiling c\nuse "../words.fence"\nrule r: deny any tool when not x in hosts'
    )
    (tmp_path / "pinned.fence").write_text(
        'language 1\nceiling d\nrule s: deny any tool when principal.user == "eve"'
    )
    first = load(policy, ceilings=[tmp_path / "pinned.fence"]).plan
    assert first is not None
    assert sorted(first.layers) == ["c", "d"]
    assert sorted((clause.name, clause.layer) for clause in first.tools["look"].denies) == [
        ("r", "c"),
        ("s", "d"),
    ]
    places = {clause.name: str(clause.place) for clause in first.tools["look"].denies}
    assert places == {"r": f"{tmp_path}/org/c.fence:4:1", "s": f"{tmp_path}/pinned.fence:3:1"}
    again = load_files(first.files).plan
    assert again is not None
    assert (again.digest, again.layers) == (first.digest, first.layers)
    alone = load(policy).plan
    assert alone is not None and alone.digest != first.digest


def test_two_files_with_one_text_that_use_their_neighbours_are_told_apart_in_the_record() -> None:
    files = {
        "p.fence": 'language 1\npolicy p\nuse "a/x.fence"\nuse "b/x.fence"\ntool t { allow always }\n',
        "a/x.fence": 'language 1\nuse "r.fence"\n',
        "b/x.fence": 'language 1\nuse "r.fence"\n',
        "a/r.fence": 'language 1\nrule one: deny t when principal.user == "a"\n',
        "b/r.fence": 'language 1\nrule two: deny t when principal.user == "b"\n',
    }
    first = plan(files["p.fence"], files)
    again = load_files(first.files).plan
    assert [clause.name for clause in first.tools["t"].denies] == ["one", "two"]
    assert again is not None and again.digest == first.digest
