"""The comparison with other engines compares what it says; how fast they are, no test asks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench.peers import page
from bench.peers.__main__ import main as peers
from bench.peers.compared import Effort, Figures, Measured, compare
from bench.peers.engines import ringfence
from bench.peers.environments import environment
from bench.peers.listed import ENGINES, OURS, Engine
from bench.peers.page import BEGIN, END, Circumstances
from bench.peers.workload import BLOCK, calls_for, tools_of

SHORT = Effort(rounds=1, round_s=0.001, check_s=0.01)
NAMED = {engine.module: engine for engine in ENGINES}
TAKEN = Circumstances("3.13.0", 2, 0.5, 1.5, 3, "2026-01-01")


def test_in_each_block_of_calls_four_of_five_are_allowed() -> None:
    calls = calls_for(tools_of(7), 200)
    blocks = [calls[begin : begin + BLOCK] for begin in range(0, 200, BLOCK)]
    assert [sum(call.allowed for call in block) for block in blocks] == [16] * 10


def test_a_tool_has_three_to_six_checks_and_its_calls_have_those_arguments_and_no_others() -> None:
    tools = tools_of(12)
    assert {len(checks) for checks in tools.values()} == {3, 4, 5, 6}
    for call in calls_for(tools, 200):
        checks = tools[call.tool.removeprefix("no_")]
        assert set(call.arguments) == {check.parameter for check in checks} | {"env"}


@pytest.mark.parametrize("rate", [False, True])
def test_the_policy_gives_the_verdicts_of_the_workload(rate: bool) -> None:
    tools = tools_of(12)
    decide = ringfence.build(tools, rate=rate)
    assert [call for call in calls_for(tools, 600) if decide(call) is not call.allowed] == []


def test_engines_take_turns_in_processes_of_their_own_and_agree() -> None:
    engines = (NAMED["ringfence_rate"], NAMED["python_jsonschema"])
    steps: list[int] = []
    found = compare(dict.fromkeys(engines, Path(sys.executable)), [3, 5], SHORT, lambda: steps.append(1))
    assert [one.said for one in found] == ["", ""]
    assert [sorted(one.sizes) for one in found] == [[3, 5], [3, 5]]
    assert all(figures.checked >= BLOCK for one in found for figures in one.sizes.values())
    assert len(steps) == 4


def test_an_engine_with_another_verdict_gets_no_figure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = _engine(tmp_path, monkeypatch, "def build(tools):\n    return lambda call: True\n")
    (found,) = compare({engine: Path(sys.executable)}, [3], SHORT, lambda: None)
    assert found.sizes == {}
    assert found.said.startswith("3 tools: another verdict on ")


def test_an_engine_that_fails_is_missing_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = _engine(tmp_path, monkeypatch, "def build(tools):\n    raise ValueError('no such rule')\n")
    (found,) = compare({engine: Path(sys.executable)}, [3], SHORT, lambda: None)
    assert found.said == "3 tools: ValueError: no such rule"


def test_an_engine_whose_process_ends_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    engine = _engine(tmp_path, monkeypatch, "import os\ndef build(tools):\n    os._exit(3)\n")
    (found,) = compare({engine: Path(sys.executable)}, [3], SHORT, lambda: None)
    assert found.said.startswith("3 tools: its process ended")


def test_what_an_engine_prints_is_no_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chatty = "def build(tools):\n    print('{}', flush=True)\n    return lambda call: call.allowed\n"
    engine = _engine(tmp_path, monkeypatch, chatty)
    (found,) = compare({engine: Path(sys.executable)}, [3], SHORT, lambda: None)
    assert list(found.sizes) == [3]


def _engine(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> Engine:
    """An engine that is no part of the comparison; `engines` is a package that may lie in several places."""
    (folder / "sitecustomize.py").write_text(
        f"import bench.peers.engines\nbench.peers.engines.__path__.append({str(folder)!r})\n", "utf-8"
    )
    (folder / "planted.py").write_text(code, "utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(__file__).parents[1]}")
    return Engine("planted", "planted", "planted", "1.0")


def test_an_engine_that_could_not_be_installed_is_told_on_the_page() -> None:
    found = compare({NAMED["cedar"]: None}, [3], SHORT, lambda: None)
    assert "- cedarpy 4.12.2: it could not be installed from wheels." in page.text(found, TAKEN)


def test_a_package_that_cannot_be_installed_leaves_nothing_behind_and_pips_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert tuple(words[-3:-1]) == ("--only-binary", ":all:")
        return subprocess.CompletedProcess(words, 1, "", "ERROR: no wheel\n")

    monkeypatch.setattr("bench.peers.environments.subprocess.run", refused)
    assert environment(tmp_path / "x", ["x==1"]) == "ERROR: no wheel"
    assert not (tmp_path / "x").exists()


def test_an_environment_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    def installed(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(words[-1])
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr("bench.peers.environments.subprocess.run", installed)
    home = tmp_path / "x"
    assert [environment(home, [requirement]) for requirement in ("x==1", "x==1", "x==2")] == [
        home / "bin" / "python"
    ] * 3
    assert asked == ["x==1", "x==2"]


def measured(name: str, cpu_us: float, *, sizes: tuple[int, ...] = (50,)) -> Measured:
    engine = next(engine for engine in ENGINES if engine.name == name)
    return Measured(engine, dict.fromkeys(sizes, Figures(cpu_us, None, cpu_us, 0.5, 40, 40)))


def test_what_is_faster_than_ours_stands_in_the_table_above_it() -> None:
    found = [measured(OURS, 4.0), measured("cedarpy", 100.0), measured("msgspec", 1.0)]
    rows = [line for line in page.text(found, TAKEN).splitlines() if line.startswith("| ")][1:4]
    assert rows[0].startswith("| msgspec 0.22.0 | 1.00 | – | 1,000,000 | **4.00 times faster** |")
    assert rows[1].startswith(f"| {OURS} | 4.00 | – | 250,000 |  |")
    assert rows[2].startswith("| cedarpy 4.12.2 | 100 | – | 10,000 | 25.0 times the time |")


def test_a_goal_is_met_or_not_or_was_not_measured() -> None:
    found = [
        measured(OURS, 4.0, sizes=(10, 50, 10_000)),
        measured("jsonschema", 80.0),
        measured("cedarpy", 100.0),
    ]
    assert [(goal.measured, goal.met) for goal in page.goals(found)] == [
        (4.0, "**no**"),
        (25.0, "**no**"),
        (None, "not measured"),
        (20.0, "yes"),
        (None, "not measured"),
        (1.0, "yes"),
    ]


def test_the_figures_are_written_between_the_marks_and_nowhere_else(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    page.write(file, "new")
    assert file.read_text("utf-8") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    file.write_text("no marks", "utf-8")
    with pytest.raises(ValueError, match="has no marks"):
        page.write(file, "new")
    assert file.read_text("utf-8") == "no marks"


def test_the_page_and_its_record_are_of_one_comparison() -> None:
    """Both are committed; whoever edits a figure by hand is found here."""
    root = Path(__file__).parents[1]
    results = json.loads((root / "bench/peers/results.json").read_text("utf-8"))
    figures = (root / "docs/performance.md").read_text("utf-8").split(BEGIN)[1].split(END)[0]
    found = [
        Measured(
            next(engine for engine in ENGINES if engine.name == one["name"]),
            {int(tools): Figures(**taken) for tools, taken in one["tools"].items()},
            one["missing"] or "",
        )
        for one in results["engines"]
    ]
    assert page.text(found, Circumstances(**results["taken"])) == figures.strip("\n")


def test_an_engine_that_there_is_not_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert peers(["opa"]) == 2
    assert "`opa`; there are ringfence_rate, " in capsys.readouterr().err
