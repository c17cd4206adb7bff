"""The chain: what its three hashes cover, and that every change of one entry is a fault."""

from hashlib import sha256

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ringfence.engine.journal.chain import (
    SALT_BYTES,
    ZERO,
    chained,
    entry_fault,
    header,
    link_fault,
    link_hash,
)
from ringfence.engine.seams.ports import Entry, Link

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
WHEN = 1_795_000_000_000_000_000


def entry(seq: int = 1, prev: bytes = ZERO, body: bytes = b'{"a":1}') -> Entry:
    return chained(
        prev,
        run="r1",
        seq=seq,
        kind="CallStarted",
        schema=1,
        at_ns=WHEN,
        mono_ns=7,
        salt=b"s" * SALT_BYTES,
        body=body,
    )


@given(run=texts, kind=texts, seq=st.integers(0, 2**53 - 1), at=st.integers(0, 2**63 - 1))
def test_a_header_is_the_canonical_json_of_its_fields(run: str, kind: str, seq: int, at: int) -> None:
    expected = rfc8785.dumps(
        {
            "id": f"{run}:{seq}",
            "run": run,
            "seq": seq,
            "kind": kind,
            "schema": 3,
            "at_ns": str(at),
            "mono_ns": "12",
        }
    )
    assert header(run=run, seq=seq, kind=kind, schema=3, at_ns=at, mono_ns=12) == expected


def test_a_lone_surrogate_in_a_header_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        header(run="\ud800", seq=1, kind="k", schema=1, at_ns=1, mono_ns=1)


def test_the_three_hashes_are_those_of_the_design() -> None:
    one = entry()
    head = (
        b'{"at_ns":"%d","id":"r1:1","kind":"CallStarted","mono_ns":"7","run":"r1","schema":1,"seq":1}' % WHEN
    )
    assert one.digest == sha256(b"s" * 16 + b'{"a":1}').digest()
    assert one.hash == sha256(bytes(32) + head + one.digest).digest()
    assert link_hash(ZERO, one.hash) == sha256(bytes(32) + one.hash).digest()


def test_a_run_of_entries_has_no_fault() -> None:
    first = entry()
    second = entry(2, first.hash)
    assert entry_fault(first, prev=ZERO, seq=1) is None
    assert entry_fault(second, prev=first.hash, seq=2) is None


@pytest.mark.parametrize(
    "change",
    [
        {"run": "r2"},
        {"seq": 2},
        {"kind": "CallFailed"},
        {"schema": 2},
        {"at_ns": WHEN + 1},
        {"mono_ns": 8},
        {"salt": b"t" * SALT_BYTES},
        {"body": b'{"a":2}'},
        {"digest": bytes(32)},
        {"prev": b"p" * 32},
        {"hash": bytes(32)},
        {"run": "\ud800"},
        {"at_ns": None},
        {"at_ns": "1"},
        {"at_ns": float(WHEN)},
        {"mono_ns": 7.0},
        {"schema": True},
        {"salt": "s" * SALT_BYTES},
        {"body": '{"a":1}'},
        {"digest": None},
    ],
    ids=repr,
)
def test_any_change_of_a_stored_entry_is_a_fault(change: dict[str, object]) -> None:
    changed = entry()._replace(**change)  # type: ignore[arg-type]
    assert entry_fault(changed, prev=ZERO, seq=1) is not None


def test_moving_a_byte_from_the_body_into_the_salt_is_a_fault() -> None:
    one = entry()
    assert one.body is not None
    moved = one._replace(salt=one.salt + one.body[:1], body=one.body[1:])
    assert "salt" in (entry_fault(moved, prev=ZERO, seq=1) or "")


def test_a_purged_body_leaves_the_chain_whole() -> None:
    assert entry_fault(entry()._replace(body=None, salt=b""), prev=ZERO, seq=1) is None


def test_a_link_is_at_fault_if_moved_missing_or_changed() -> None:
    one = entry()
    link = Link(1, one.run, one.seq, link_hash(ZERO, one.hash))
    assert link_fault(link, prev=ZERO, position=1, hash=one.hash) is None
    assert "link 2" in (link_fault(link, prev=ZERO, position=2, hash=one.hash) or "")
    assert "missing" in (link_fault(link, prev=ZERO, position=1, hash=None) or "")
    assert "follow" in (link_fault(link, prev=one.hash, position=1, hash=one.hash) or "")
    assert "follow" in (link_fault(link, prev=ZERO, position=1, hash=one.prev) or "")
