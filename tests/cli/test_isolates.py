"""What `doctor` and `check` say of isolates: V8, each wall with its evidence, what is missing."""

import asyncio
import json
import os
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import ringfence._builtins as own
from ringfence.__main__ import main
from ringfence.plugin import EngineError, Fitness, IsolateExecutor, Layer, hookimpl
from ringfence.plugins.isolate import executor as executors
from ringfence.plugins.isolate.installed import Installed
from ringfence.plugins.isolate.program import LAYERS
from tests.isolates import FakeExecutor
from tests.walls import needed

POLICY = """language 1
policy desk
capability compute is code
agent main { holds compute }
isolate calculator { time 2 seconds LOCKDOWN }
tool run_js {
  needs compute
  takes code: text at most 32 KB
  runs code in calculator
  allow when size(code) > 0 bytes
  rate 20 per run
}
"""


class Machine(FakeExecutor):
    """What runs isolates on a machine that tests make up."""

    def __init__(self, fitness: Fitness | Exception, check: Exception | None = None) -> None:
        super().__init__()
        self.seen = fitness
        self.wrong = check

    async def fitness(self) -> Fitness:
        if isinstance(self.seen, Exception):
            raise self.seen
        return self.seen

    def check(self) -> None:
        if self.wrong is not None:
            raise self.wrong


def machine(
    monkeypatch: pytest.MonkeyPatch, fitness: Fitness | Exception, check: Exception | None = None
) -> Machine:
    made = Machine(fitness, check)
    runs_by(monkeypatch, made)
    return made


def runs_by(monkeypatch: pytest.MonkeyPatch, executor: IsolateExecutor | None) -> None:
    """Have this in the place of Ringfence's own executor; None: nothing."""

    @hookimpl
    def ringfence_isolate_executor() -> IsolateExecutor | None:
        return executor

    plugin = types.ModuleType("isolate")
    plugin.ringfence_isolate_executor = ringfence_isolate_executor  # type: ignore[attr-defined]
    given = {name: one for name, one in own.builtins().items() if name != "isolate"}
    monkeypatch.setattr(own, "builtins", lambda: given if executor is None else {**given, "isolate": plugin})


def walls(*missing: str) -> Fitness:
    named = ("process", "Landlock", "seccomp", "a wall of another executor")
    return Fitness("14.4.1", tuple(Layer(name, name not in missing, f"seen of {name}") for name in named))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def policy(folder: Path, lockdown: str = "") -> None:
    (folder / "desk.fence").write_text(POLICY.replace("LOCKDOWN", lockdown), "utf-8")
    (folder / "ringfence.toml").write_text('policy = "desk.fence"\nstore = "memory:"\n', "utf-8")


def doctor(capsys: pytest.CaptureFixture[str], *, code: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run it; its findings about isolates by what they begin with, and the record for programs."""
    capsys.readouterr()
    assert main(["--json", "doctor"]) == code
    said = json.loads(capsys.readouterr().out)
    assert said["fine"] is (code == 0)
    rows = [one for one in said["findings"] if one["what"] in ("isolates", "wall", "lockdown")]
    return {one["found"]: one for one in rows}, said["isolates"]


@pytest.mark.skipif(os.name != "posix", reason="workers are processes of POSIX systems")
def test_doctor_lists_v8_and_every_wall_of_a_real_worker_with_its_evidence(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needed()
    policy(folder)
    findings, record = doctor(capsys)
    assert record["v8"].split(".")[0].isdecimal() and record["problem"] is None
    assert {wall["name"] for wall in record["walls"]} == LAYERS
    assert all(wall["holds"] and wall["evidence"] for wall in record["walls"])
    assert record["lacks"] == {"full": [], "process": []}
    assert record["wanted"] == {"full": ["calculator"]}
    assert f"V8 {record['v8']}; 10 of 10 walls stand around a worker" in findings
    for wall in record["walls"]:
        assert findings[f"{wall['name']}: {wall['evidence']}"]["state"] == "ok"
    assert "`lockdown full`, which `calculator` must have: every wall that it needs stands" in findings
    assert "`lockdown process`: every wall that it needs stands" in findings


def test_doctor_shows_it_to_people_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch, walls("Landlock"))
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "ok     isolates  V8 14.4.1; 3 of 4 walls stand around a worker" in out
    assert "ok     wall      seccomp: seen of seccomp" in out
    assert "note   wall      missing: Landlock: seen of Landlock" in out
    assert "help: Linux 5.13 or later, with `landlock` among the modules of `lsm=`" in out
    assert "note   lockdown  `lockdown full`: this machine lacks Landlock" in out
    assert "ok     lockdown  `lockdown process`: every wall that it needs stands" in out


def test_a_wall_that_the_policy_needs_and_the_machine_lacks_is_broken(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = machine(monkeypatch, walls("Landlock", "a wall of another executor"))
    policy(folder)
    findings, record = doctor(capsys, code=1)
    missing = findings["missing: Landlock: seen of Landlock"]
    assert missing["state"] == "broken" and "Linux 5.13" in missing["help"]
    other = findings["missing: a wall of another executor: seen of a wall of another executor"]
    assert (other["state"], other["help"]) == ("broken", "see the documentation of what runs isolates")
    lacks = "this machine lacks Landlock, a wall of another executor"
    lockdown = findings[f"`lockdown full`, which `calculator` must have: {lacks}"]
    assert lockdown["state"] == "broken" and "refused here" in lockdown["help"]
    assert record["lacks"] == {"full": ["Landlock", "a wall of another executor"], "process": []}
    assert made.closed >= 1, "what was made for the look is closed"


def test_a_wall_that_the_policy_does_not_ask_for_is_worth_a_word_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch, walls("Landlock"))
    policy(folder, "lockdown process")
    findings, _ = doctor(capsys)
    assert findings["missing: Landlock: seen of Landlock"]["state"] == "note"
    assert "`lockdown process`, which `calculator` must have: every wall that it needs stands" in findings


def test_a_worker_that_is_no_process_of_its_own_is_not_enough_for_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch, walls("process"))
    policy(folder, "lockdown process")
    _, record = doctor(capsys, code=1)
    assert record["lacks"] == {"full": ["process"], "process": ["process"]}


OLD = Installed(
    None,
    "py-mini-racer 0.6.0 is installed: its V8 is of 2021, with known holes, and it takes the import name of "
    "its successor mini-racer",
    "`pip uninstall py-mini-racer mini-racer`, then `pip install 'ringfence[isolate]'`",
)
TOO_OLD = Installed(
    None, "mini-racer 0.12.4 is too old, 0.14.1 is needed", "`pip install 'ringfence[isolate]'`"
)
NONE = Installed(None, "no V8 is installed", "`pip install 'ringfence[isolate]'` brings mini-racer")


def v8_is(monkeypatch: pytest.MonkeyPatch, found: Installed) -> None:
    runs_by(monkeypatch, executors.IsolatePool(look=lambda: found))


@pytest.mark.skipif(os.name != "posix", reason="elsewhere it is the system that is named")
@pytest.mark.parametrize("found", [OLD, TOO_OLD, NONE], ids=["old", "too old", "none"])
def test_check_says_which_v8_is_wrong_and_what_mends_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: Installed
) -> None:
    v8_is(monkeypatch, found)
    policy(folder)
    assert main(["--json", "check", "desk.fence"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["diagnostics"]
    assert (one["code"], one["line"], one["error"]) == ("W216", 9, False)
    assert (one["message"], one["help"]) == (found.why_not, found.mend)
    assert one["label"] == "every call of `run_js` fails before it starts"
    assert main(["check", "desk.fence"]) == 0
    drawn = capsys.readouterr().out
    assert f"warning[W216]: {found.why_not}" in drawn and f"= help: {found.mend}" in drawn


@pytest.mark.skipif(os.name != "posix", reason="elsewhere it is the system that is named")
@pytest.mark.parametrize("found", [OLD, TOO_OLD, NONE], ids=["old", "too old", "none"])
def test_doctor_says_it_too_and_it_is_broken_where_the_policy_has_isolates(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: Installed
) -> None:
    v8_is(monkeypatch, found)
    findings, record = doctor(capsys)
    assert findings[found.why_not]["state"] == "note"
    policy(folder)
    findings, record = doctor(capsys, code=1)
    assert (findings[found.why_not]["state"], findings[found.why_not]["help"]) == ("broken", found.mend)
    assert record["problem"] == found.why_not and record["v8"] is None and record["walls"] == []
    assert record["lacks"] == {"full": None, "process": None}


def test_doctor_refuses_the_old_package_by_name_whatever_the_policy_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ringfence.cli import examination

    real = examination._version
    monkeypatch.setattr(examination, "_version", lambda of: "0.6.0" if of == "py-mini-racer" else real(of))
    v8_is(monkeypatch, OLD)
    findings, _ = doctor(capsys, code=1)
    (refused,) = findings.values()
    assert refused["state"] == "broken"
    assert refused["found"].startswith("py-mini-racer 0.6.0 is installed: its V8 is of 2021")
    assert "pip uninstall py-mini-racer" in refused["help"]


def test_check_says_nothing_of_isolates_that_can_be_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = machine(monkeypatch, walls())
    policy(folder)
    assert main(["--json", "check", "desk.fence"]) == 0
    assert json.loads(capsys.readouterr().out)["diagnostics"] == []
    assert made.jobs == [] and made.closed == 1


def test_settings_of_isolates_that_are_wrong_are_a_finding_and_the_rest_is_looked_at(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "ringfence.toml").write_text('store = "memory:"\n[isolates]\nworkers = 0\nspair = 1\n')
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "`isolates.spair`: unknown key (did you mean `spare`?)" in out
    assert "`isolates.workers`: must be at least 1" in out
    assert "walls stand around a worker" in out


def test_where_nothing_runs_isolates_check_and_doctor_say_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs_by(monkeypatch, None)
    policy(folder)
    assert main(["--json", "check", "desk.fence"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["diagnostics"]
    assert one["message"] == "nothing that runs isolates is installed"
    findings, _ = doctor(capsys, code=1)
    (nothing,) = findings.values()
    assert nothing["found"] == "nothing that runs isolates is installed"
    assert "pip install 'ringfence[isolate]'" in nothing["help"]


@pytest.mark.parametrize(
    ("fitness", "check", "says"),
    [
        (RuntimeError("wedged"), None, "wedged"),
        (walls(), ValueError("nonsense"), "nonsense"),
        (walls(), EngineError("not on this machine", help="buy another"), "not on this machine"),
        (Fitness(None, problem="no worker could be started"), None, "no worker could be started"),
    ],
)
def test_whatever_an_executor_does_is_a_finding(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fitness: Fitness | Exception,
    check: Exception | None,
    says: str,
) -> None:
    machine(monkeypatch, fitness, check)
    policy(folder)
    findings, record = doctor(capsys, code=1)
    (one,) = findings.values()
    assert says in one["found"] and one["state"] == "broken" and one["help"]
    assert says in record["problem"]
    if check is not None:
        assert main(["--json", "check", "desk.fence"]) == 0
        (warned,) = json.loads(capsys.readouterr().out)["diagnostics"]
        assert warned["code"] == "W216" and says in warned["message"] and warned["help"]


def test_an_executor_that_never_answers_does_not_hold_the_doctor_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ringfence.cli import walls as looking

    class Wedged(FakeExecutor):
        async def fitness(self) -> Fitness:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

    monkeypatch.setattr(looking, "WITHIN_S", 0.1)
    runs_by(monkeypatch, Wedged())
    findings, _ = doctor(capsys)
    assert "what runs isolates has not proved its walls within 0.1 s" in findings


def test_every_wall_that_a_worker_reports_has_words_on_how_to_get_it() -> None:
    from ringfence.cli.walls import _MENDS

    assert set(_MENDS) == set(LAYERS)


def test_evidence_that_draws_on_the_terminal_is_escaped(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evil: Sequence[Layer] = [Layer("process\x1b[2J", True, "\x1b]0;owned\x07")]
    machine(monkeypatch, Fitness("\x1b[31m14", tuple(evil)))
    assert main(["doctor"]) == 0
    assert "\x1b" not in capsys.readouterr().out
