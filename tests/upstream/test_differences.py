"""The committed lists of differences that are meant."""

from pathlib import Path

import pytest

from tests.upstream.differences import LISTS, ListError, list_for, listed_for, read

ENTRY = '[[difference]]\nreason = "why"\ntests = ["a", "b[1]"]\n'


def written(folder: Path, text: str, name: str = "pkg-1.0.toml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_an_entry_counts_for_every_way_or_for_those_it_names(tmp_path: Path) -> None:
    found = read(written(tmp_path, ENTRY + '[[difference]]\nreason = "x"\ntests = ["c"]\nways = ["w"]\n'))
    assert listed_for(found, "w") == {"a", "b[1]", "c"}
    assert listed_for(found, "v") == {"a", "b[1]"}


def test_what_may_fail_and_what_may_be_cut_are_listed_apart(tmp_path: Path) -> None:
    found = read(
        written(tmp_path, ENTRY + ENTRY.replace('"why"', '"x"\npolicy = "deny"').replace('"b[1]"', '"c"'))
    )
    assert listed_for(found, "w") == {"a", "b[1]"}
    assert listed_for(found, "w", "deny") == {"a", "c"}


@pytest.mark.parametrize(
    "text",
    [
        '[[difference]]\ntests = ["a"]',
        '[[difference]]\nreason = " "\ntests = ["a"]',
        '[[difference]]\nreason = "x"\ntests = []',
        '[[difference]]\nreason = "x"\ntests = ["a"]\nbecause = "y"',
        '[[difference]]\nreason = "x"\ntests = ["a"]\npolicy = "nothing"',
        ENTRY + ENTRY,
        "[[difference",
    ],
)
def test_a_list_without_reasons_or_tests_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ListError, match=r"pkg-1\.0\.toml"):
        read(written(tmp_path, text))


def test_a_version_has_its_own_list_or_the_newest_there_is(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0"):
        written(tmp_path, ENTRY, f"pkg-{version}.toml")
    written(tmp_path, ENTRY, "pkg-core-2.0.toml")
    assert list_for("pkg", "1.9.0", tmp_path) == tmp_path / "pkg-1.9.0.toml"
    assert list_for("pkg", "1.11.0", tmp_path) == tmp_path / "pkg-1.10.0.toml"
    assert list_for("other", "1.0", tmp_path) is None


def test_every_committed_list_can_be_read() -> None:
    files = sorted(LISTS.glob("*.toml"))
    assert files and all(read(file) for file in files)
