"""Heads that were signed elsewhere: by them alone a log that was cut off or rewritten whole is found."""

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.__main__ import main
from ringfence.engine.seams.errors import EngineError
from ringfence.plugins.witness.keys import KeyFileError, private_key, public_key
from ringfence.plugins.witness.reading import WitnessError, witness_of
from ringfence.plugins.witness.sink import WitnessSettings, WitnessSink
from ringfence.testing.sinks import event
from tests.guards import call, make_guard

FULL = """language 1  policy p  agent main { stop after 5 minutes }
tool t { allow always rate 9 per run audit full }"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("log", "other"):
        key_pair(tmp_path, name)
    return tmp_path


def key_pair(folder: Path, name: str) -> None:
    key = Ed25519PrivateKey.generate()
    private = folder / f"{name}.key"
    private.touch(0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pub").write_bytes(public)


def sink_in(folder: Path, key: str = "log") -> WitnessSink:
    return WitnessSink(WitnessSettings(file=folder / "heads.jsonl", key=folder / f"{key}.key"))


def runs_in(folder: Path, count: int) -> None:
    """Have a guard make runs whose heads are witnessed."""
    sink = {"file": str(folder / "heads.jsonl"), "key": str(folder / "log.key")}
    guard = make_guard(store=f"sqlite:///{folder / 'ringfence.db'}", sinks={"witness": sink})
    for number in range(count):
        with guard.run(agent="main") as run:
            guard.execute(run, call("look", what=f"{number}"), lambda arguments: arguments)
    guard.close()


def verify(
    folder: Path, capsys: pytest.CaptureFixture[str], *words: str, key: str = "log"
) -> tuple[int, str]:
    witness = ["--witness", str(folder / "heads.jsonl"), "--key", str(folder / f"{key}.pub")]
    code = main(["verify", *words, *witness, "--store", f"sqlite:///{folder / 'ringfence.db'}"])
    shown = capsys.readouterr()
    return code, shown.out + shown.err


def test_a_log_that_nobody_changed_holds_all_that_was_witnessed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs_in(folder, 2)
    code, told = verify(folder, capsys)
    assert code == 0 and "0 events came later" in told
    assert verify(folder, capsys, "last")[0] == 0
    code, told = verify(folder, capsys, "--json")
    document = json.loads(told)
    assert code == 0 and document["intact"] and document["unwitnessed"] == 0
    assert document["witnessed"] == len((folder / "heads.jsonl").read_text().splitlines())


def test_a_log_that_was_cut_off_cleanly_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs_in(folder, 1)
    shutil.copy(folder / "ringfence.db", folder / "earlier.db")
    runs_in(folder, 1)
    shutil.copy(folder / "earlier.db", folder / "ringfence.db")
    assert main(["verify", "--store", f"sqlite:///{folder / 'ringfence.db'}"]) == 0, "alone it proves nothing"
    capsys.readouterr()
    code, told = verify(folder, capsys)
    assert code == 2 and "is missing: the log was cut off" in told


def test_a_log_that_was_written_anew_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs_in(folder, 1)
    with closing(sqlite3.connect(folder / "ringfence.db")) as db:
        (run,) = db.execute("SELECT run FROM run").fetchone()
    other = folder / "other"
    other.mkdir()
    shutil.copy(folder / "log.key", other / "log.key")
    runs_in(other, 1)
    shutil.copy(other / "ringfence.db", folder / "ringfence.db")
    assert main(["verify", "--store", f"sqlite:///{folder / 'ringfence.db'}"]) == 0, "alone it proves nothing"
    capsys.readouterr()
    code, told = verify(folder, capsys)
    assert code == 2 and run in told


async def test_one_event_that_differs_is_named(folder: Path) -> None:
    sink = sink_in(folder)
    await sink.open()
    await sink.write([event(1), event(2), event(1, run="run-2")])
    await sink.write([event(3)])
    await sink.close()
    seen = witness_of(folder / "heads.jsonl", public_key(folder / "log.pub"))
    assert (seen.lines, seen.at_ns) == (2, event(3).at_ns)
    assert {run: {seq: line for seq, (_, line) in seqs.items()} for run, seqs in seen.heads.items()} == {
        "run-1": {2: 1, 3: 2},
        "run-2": {1: 1},
    }


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_byte_of_a_witness_changes_unseen(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("witness")
    key_pair(folder, "log")
    asyncio.run(three_lines(folder))
    file = folder / "heads.jsonl"
    whole, key = file.read_bytes(), public_key(folder / "log.pub")
    at = data.draw(st.integers(0, len(whole) - 2))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    file.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
    with pytest.raises(WitnessError):
        witness_of(file, key)


def test_another_way_to_write_the_same_line_is_none(folder: Path) -> None:
    asyncio.run(three_lines(folder))
    file, key = folder / "heads.jsonl", public_key(folder / "log.pub")
    said, last = file.read_bytes().rsplit(b'"signature":', 1)
    for changed in (last.upper(), last.replace(b'"', b'" ', 1), last[:-1] + b" \n"):
        assert changed != last
        file.write_bytes(said + b'"signature":' + changed)
        with pytest.raises(WitnessError, match="line 3"):
            witness_of(file, key)


async def three_lines(folder: Path) -> None:
    sink = sink_in(folder)
    await sink.open()
    for seq in (1, 2, 3):
        await sink.write([event(seq)])
    await sink.close()


async def test_lines_that_were_removed_or_moved_are_found(folder: Path) -> None:
    await three_lines(folder)
    file, key = folder / "heads.jsonl", public_key(folder / "log.pub")
    one, two, three = file.read_bytes().splitlines(keepends=True)
    for changed in ([two, three], [one, three], [one, three, two], [one, one, two, three]):
        file.write_bytes(b"".join(changed))
        with pytest.raises(WitnessError, match="does not follow"):
            witness_of(file, key)
    file.write_bytes(one + two + three[:-9])
    assert witness_of(file, key).lines == 2, "its writer was stopped, and has answered for nothing of it"


def test_an_empty_witness_vouches_for_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs_in(folder, 1)
    for content in (b"", b'{"said":'):
        (folder / "heads.jsonl").write_bytes(content)
        code, told = verify(folder, capsys)
        assert code == 2 and "holds no line" in told


async def test_another_key_neither_verifies_nor_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs_in(folder, 1)
    code, told = verify(folder, capsys, key="other")
    assert code == 2 and "was not signed with this key" in told
    with pytest.raises(RuntimeError, match="name another file for this key"):
        await sink_in(folder, "other").open()


async def test_a_restart_goes_on_after_the_last_line_and_drops_a_torn_one(folder: Path) -> None:
    await three_lines(folder)
    with (folder / "heads.jsonl").open("ab") as file:
        file.write(b'{"said":')
    again = sink_in(folder)
    await again.open()
    await again.write([event(4)])
    await again.close()
    assert witness_of(folder / "heads.jsonl", public_key(folder / "log.pub")).lines == 4


async def test_two_guards_share_a_file(folder: Path) -> None:
    first, second = sink_in(folder), sink_in(folder)
    await first.open()
    await second.open()

    async def many(sink: WitnessSink, run: str) -> None:
        for seq in range(1, 21):
            await sink.write([event(seq, run=run)])

    await asyncio.gather(many(first, "run-1"), many(second, "run-2"))
    await first.close()
    await second.close()
    seen = witness_of(folder / "heads.jsonl", public_key(folder / "log.pub"))
    assert seen.lines == 40 and {run: len(seqs) for run, seqs in seen.heads.items()} == {
        "run-1": 20,
        "run-2": 20,
    }


async def test_a_witness_that_was_cut_off_or_replaced_takes_nothing_more(folder: Path) -> None:
    sink = sink_in(folder)
    await sink.open()
    for seq in (1, 2):
        await sink.write([event(seq)])
    file = folder / "heads.jsonl"
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(RuntimeError, match="was cut off: it had 2 lines, and has 1"):
        await sink.write([event(3)])
    file.rename(folder / "moved.jsonl")
    file.touch()
    with pytest.raises(RuntimeError, match="was replaced"):
        await sink.write([event(3)])
    await sink.close()
    with pytest.raises(RuntimeError, match="not open"):
        await sink.write([event(3)])


def test_a_witness_that_cannot_be_written_lets_no_call_happen(folder: Path) -> None:
    sink = {"file": str(folder / "heads.jsonl"), "key": str(folder / "log.key")}
    guard = make_guard(FULL, store=f"sqlite:///{folder / 'ringfence.db'}", sinks={"witness": sink})
    ran: list[str] = []
    run = guard.begin_run(agent="main")
    guard.execute(run, call("t"), lambda arguments: ran.append("before"))
    (folder / "heads.jsonl").unlink()
    with pytest.raises(EngineError):
        guard.execute(run, call("t"), lambda arguments: ran.append("after"))
    assert ran == ["before"]
    with pytest.raises(EngineError):
        guard.close()


@pytest.mark.parametrize("name", ["absent.key", "log.pub", "ec.key", "open.key"])
def test_a_file_that_holds_no_key_to_sign_with_is_named(name: str, folder: Path) -> None:
    ec = generate_private_key(SECP256R1())
    (folder / "ec.key").touch(0o600)
    (folder / "ec.key").write_bytes(ec.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    shutil.copy(folder / "log.key", folder / "open.key")
    (folder / "open.key").chmod(0o644)
    (folder / "log.pub").chmod(0o600)
    with pytest.raises(KeyFileError) as caught:
        private_key(folder / name)
    words = {
        "absent.key": "cannot be read",
        "log.pub": "holds no private key",
        "ec.key": "not of the kind",
        "open.key": "others may read",
    }
    assert words[name] in str(caught.value)


def test_a_private_key_is_no_key_to_verify_with(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs_in(folder, 1)
    (folder / "log.pub").write_bytes((folder / "log.key").read_bytes())
    code, told = verify(folder, capsys)
    assert code == 1 and "holds no public key" in told and "PRIVATE" not in told


@pytest.mark.parametrize("words", [["--witness", "x"], ["--key", "x"]])
def test_witness_and_key_belong_together(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *words]) == 1
    assert "belong together" in capsys.readouterr().err


def test_the_lines_hold_heads_and_no_word_of_what_was_said(folder: Path) -> None:
    runs_in(folder, 1)
    for line in (folder / "heads.jsonl").read_text().splitlines():
        assert json.loads(line).keys() == {"said", "signature"}
        assert json.loads(line)["said"].keys() == {"at_ns", "heads", "line", "prev"}
