"""Commands over a log in which a session remembers: why a call was refused, what other rules would say."""

import json
from pathlib import Path
from typing import Any

import pytest

from ringfence.__main__ import main
from ringfence.engine.seams.errors import DeniedError
from tests.guards import ALICE, call, make_guard

POLICY = """language 1
policy desk
levels public < secret
capability look is read
capability send is external
agent main { holds look, send }
tool query { needs look takes table: text allow always result is secret rate 9 per hour }
tool mail {
  needs send
  takes to: text
  allow when to starts with "b"
  require known: to comes only from [user]
  rate 9 per hour
}
rule leave: deny mail when after reading secret because "secrets stay"
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A session of two runs: the second may not mail, because of what the first has read."""
    monkeypatch.chdir(tmp_path)
    guard = make_guard(POLICY, store=f"sqlite:///{tmp_path}/ringfence.db")
    with guard.run(principal=ALICE, session="s", prompt="read, then mail bob@acme.example") as run:
        guard.execute(run, call("query", table="t"), lambda _: "eve@evil.example")
    with guard.run(principal=ALICE, session="s") as run:
        for to in ("bob@acme.example", "eve@evil.example"):
            with pytest.raises(DeniedError):
                guard.execute(run, call("mail", to=to), lambda _: "sent")
    guard.close()
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(words) == code, capsys.readouterr().err
    return capsys.readouterr().out


def data(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    return json.loads(told(capsys, *words, "--json", code=code))


def test_why_says_label_sources_and_what_would_have_allowed_it(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = told(capsys, "why", "last", "1")
    assert "the session carries: secret" in text
    assert "to comes from: user" in text
    assert "`leave` not standing in the way (at policy.fence:15:1, because secrets stay)" in text
    (known,) = data(capsys, "why", "last", "2")["known"]
    assert known["sources"] == {"to": ["query"]}
    assert [remedy.partition(" (")[0] for remedy in known["remedies"]] == [
        "`known` not standing in the way".replace("known", "mail.known"),
        "`leave` not standing in the way",
        "the `allow` at policy.fence:11:3 being true",
    ]


def test_replay_folds_the_runs_that_a_run_goes_on_from(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data(capsys, "replay", "last")["identical"] is True


def test_another_policy_says_what_it_would_have_decided(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (log / "other.fence").write_text(POLICY.split("rule leave")[0])
    text = told(capsys, "replay", "last", "--policy", "other.fence", code=2)
    assert "event 3, mail: deny then, allow by mail.allow at other.fence:11:3" in text
    assert "1 of 2 decisions would have been different" in text
    (log / "same.fence").write_text(POLICY)
    assert data(capsys, "replay", "last", "--policy", "same.fence")["changes"] == []


def test_another_policy_stands_under_its_ceiling(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (log / "org.fence").write_text(
        "language 1\nceiling org\ncapability send is external\n"
        "rule nothing_leaves: deny any tool that is external\n"
    )
    free = POLICY.split("rule leave")[0].replace("policy desk", 'policy desk under "org.fence"')
    (log / "other.fence").write_text(free)
    assert data(capsys, "replay", "last", "--policy", "other.fence")["changes"] == []


def test_a_policy_with_a_mistake_is_drawn(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (log / "wrong.fence").write_text("language 1\npolicy x\ntool t { alow always }\n")
    assert main(("replay", "last", "--policy", "wrong.fence")) == 3
    assert "error[" in capsys.readouterr().err
