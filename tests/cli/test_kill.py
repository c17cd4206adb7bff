"""`ringfence kill` beside real processes: it returns when they have stopped, or names those that have not."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ringfence.__main__ import main
from tests.attending import attending
from tests.guards import ALICE, make_guard
from tests.shared import SHARED, shared_settings


@pytest.fixture(params=SHARED)
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What the command and the processes share: `ringfence.toml` says it to the command."""
    monkeypatch.chdir(tmp_path)
    said = shared_settings(request, tmp_path)
    (tmp_path / "ringfence.toml").write_text("".join(f"{name} = {value!r}\n" for name, value in said.items()))
    return said


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_it_returns_when_every_process_has_acknowledged(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with attending(settings, "flying") as one, attending(settings, "stuck") as two:
        assert main(["kill", one.run, "--by", "dana", "--within", "1m", "--json"]) == 0
        said = document(capsys)
        assert (said["run"], said["agent"], said["by"], said["acknowledged"]) == (one.run, None, "dana", True)
        assert (said["missing"], said["in_flight"]) == ([], 0) and said["id"] > 0 and said["at_ns"] > 0
        assert {each["holder"] for each in said["obeyed"]} == {one.holder, two.holder}
        assert all(each["obeyed"] == said["id"] and each["silent_s"] >= 0 for each in said["obeyed"])
        assert "RunHaltedError" in one.said("ended")

        assert main(["kill", "--agent", "main", "--within", "1m"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "ordered to stop: every run of agent main"
        assert f"stopped  {two.holder}; 1 in flight could not be stopped" in lines
        assert "RunHaltedError" in two.said("ended")


def test_it_names_who_has_not_acknowledged(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with attending(settings, "flying") as stopped, attending(settings, "idle") as other:
        stopped.stand_still()
        assert main(["kill", "--all", "--within", "5s"]) == 1
        said = capsys.readouterr()
        assert f"not acknowledged  {stopped.holder}, silent for " in said.out
        assert f"stopped  {other.holder}" in said.out and "the order stands" in said.err

        assert main(["kill", "--all", "--within", "0.3", "--json"]) == 1
        told = document(capsys)
        missing = {each["holder"]: each for each in told["missing"]}
        assert missing[stopped.holder]["silent_s"] > 0 and not told["acknowledged"]
        os.kill(stopped.popen.pid, signal.SIGCONT)
        assert "RunHaltedError" in stopped.said("ended")


def test_a_suspended_run_is_halted_when_somebody_wants_to_go_on_with_it(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    guard = make_guard(**settings)
    run = guard.begin_run(principal=ALICE, agent="main")
    guard.suspend(run)
    assert main(["kill", run.id]) == 0
    assert "halted when somebody wants to go on" in capsys.readouterr().err
    assert guard.resume_run(run.id).state.halted is not None
    guard.close()


@pytest.mark.parametrize("said", ["soon", "-1s", "10h", "s", "nan", "1e9"])
def test_a_time_that_is_none_is_refused(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kill", "--all", f"--within={said}"]) == 1
    assert "is no time: write 10s" in capsys.readouterr().err


def test_the_name_of_whoever_orders_is_kept_without_what_the_settings_call_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"store = 'sqlite:///{tmp_path}/log.db'\n[secrets]\npatterns = ['sk-live-[0-9]{{8}}']\n"
    (tmp_path / "ringfence.toml").write_text(text)
    guard = make_guard(store=f"sqlite:///{tmp_path}/log.db")
    with guard.run(principal=ALICE):
        pass
    guard.close()
    secret = "sk-live-12345678"
    assert main(["kill", "--agent", "main", "--by", f"dana {secret}", "--within", "1m", "--json"]) == 0
    assert document(capsys)["by"] == "dana [redacted]"
    assert main(["purge", "--before", "0s", "--by", f"dana {secret}"]) == 0
    files = [file for file in tmp_path.rglob("log.db*") if file.is_file()]
    assert files and not any(secret.encode() in file.read_bytes() for file in files)
    assert any(b"dana [redacted]" in file.read_bytes() for file in files)
