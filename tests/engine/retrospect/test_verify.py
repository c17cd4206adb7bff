from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.canonical import canonical
from ringfence.engine.journal.chain import SALT_BYTES, ZERO, body_digest, entry_hash, header_of
from ringfence.engine.journal.purging import purge_after
from ringfence.engine.journal.rows import row_after
from ringfence.engine.retrospect.verify import Told, verify_run
from ringfence.engine.retrospect.walk import Part, Walk, verify_log
from ringfence.engine.seams.ports import Entry, Link, RunRow
from tests.logs import Recorder, links_of
from tests.plans import parameter, plan, tool

PLAN = plan(tool("t", takes=[parameter("x", kind="integer")]))


def run_of(name: str, calls: int = 2) -> list[Entry]:
    run = Recorder(PLAN)
    for number in range(calls):
        run.call(f"k{number}.0", {"x": number})
    return run.entries(name)


def log() -> tuple[list[Entry], list[Link]]:
    """Two runs, their events written in turns."""
    one, two = run_of("r1"), run_of("r2")
    written = [entry for pair in zip(one, two, strict=True) for entry in pair]
    return written, links_of(written)


def resealed(entry: Entry, prev: bytes, body: bytes) -> Entry:
    """What somebody writes who knows how hashes are made."""
    digest = body_digest(entry.salt, body)
    return entry._replace(
        prev=prev, body=body, digest=digest, hash=entry_hash(prev, header_of(entry), digest)
    )


def test_a_log_that_nobody_touched_is_intact() -> None:
    entries, links = log()
    found = verify_log(links, entries, head=links[-1])
    assert found.intact and found.fault is None
    assert (found.events, found.runs, found.head) == (len(entries), 2, links[-1])
    assert verify_run(run_of("r1")) is None
    assert verify_log([], []).intact


def gone(entry: Entry) -> Entry:
    return entry._replace(body=None, salt=b"")


def purge_of(run: list[Entry]) -> Entry:
    row: RunRow | None = None
    for entry in run:
        row = row_after(row, entry)
    assert row is not None
    return purge_after(run[-1], row, before_ns=1, by=None, now_ns=1)


def test_bodies_that_a_purge_names_are_no_fault() -> None:
    one, two = run_of("r1"), run_of("r2")
    purge = purge_of(one)
    purged = [*map(gone, one), purge]
    assert verify_log(links_of([*one, *two, purge]), [*purged, *two]).intact
    again = purge_of(purged)
    assert verify_run([*purged, again]) is None


def test_a_body_that_no_purge_names_is_a_fault() -> None:
    one = run_of("r1")
    removed = "its body was removed, and no purge says so"
    for index, entry in enumerate(one):
        fault = verify_run([*one[:index], gone(entry), *one[index + 1 :]])
        assert fault is not None and (fault.event, fault.because) == (entry.id, removed)
    purge = purge_of(one[:3])
    later = [resealed(entry._replace(seq=entry.seq + 1), purge.hash, b"{}") for entry in one[3:4]]
    assert verify_run([*map(gone, one[:3]), purge, *later]) is None
    fault = verify_run([*map(gone, one[:3]), purge, *map(gone, later)])
    assert fault is not None and (fault.event, fault.because) == ("r1:5", removed)


@pytest.mark.parametrize("upto", [3, 0, -1, "4", 4.5, True, None, [4]])
def test_a_purge_covers_what_it_names_and_that_only(upto: Any) -> None:
    one = run_of("r1")[:4]
    last = purge_of(one)
    for body in (canonical({"upto": upto}), b"{}", b"[", b"4"):
        fault = verify_run([*map(gone, one), resealed(last, one[-1].hash, body)])
        assert fault is not None
        assert fault.event == ("r1:4" if (upto, body) == (3, canonical({"upto": 3})) else "r1:1")
    fault = verify_run([*map(gone, one), gone(last)])
    assert fault is not None and fault.event == "r1:1"


def test_a_purge_cannot_hide_itself() -> None:
    one = run_of("r1")[:4]
    first = purge_of(one)
    second = purge_of([*one, first])
    fault = verify_run([*map(gone, one), gone(first), second])
    assert fault is not None and fault.event == first.id
    greedy = resealed(first, one[-1].hash, canonical({"upto": 99}))
    assert verify_run([*map(gone, one), greedy]) is None
    fault = verify_run([*map(gone, one), gone(greedy)])
    assert fault is not None


positions = st.integers(0, len(log()[0]) - 1)


@given(positions, st.data())
def test_one_changed_byte_anywhere_is_found_and_its_event_named(index: int, data: st.DataObject) -> None:
    entries, links = log()
    entry = entries[index]
    field = data.draw(st.sampled_from(["body", "salt", "digest", "prev", "hash"]))
    before = getattr(entry, field)
    at = data.draw(st.integers(0, len(before) - 1))
    after = before[:at] + bytes([before[at] ^ data.draw(st.integers(1, 255))]) + before[at + 1 :]
    entries[index] = entry._replace(**{field: after})
    fault = verify_log(links, entries).fault
    assert fault is not None and fault.event == entry.id and fault.position == index + 1
    assert entry.id in str(fault)


@given(positions, st.sampled_from(["seq", "at_ns", "mono_ns", "schema", "kind", "run"]))
def test_one_changed_header_field_is_found(index: int, field: str) -> None:
    entries, links = log()
    old = getattr(entries[index], field)
    new: dict[str, Any] = {field: old + 1 if isinstance(old, int) else old + "x"}
    entries[index] = entries[index]._replace(**new)
    assert verify_log(links, entries).fault is not None


@given(positions)
def test_a_deleted_event_is_named(index: int) -> None:
    entries, links = log()
    gone = entries.pop(index)
    fault = verify_log(links, entries).fault
    assert fault is not None and fault.event == gone.id and fault.position == index + 1


@given(positions)
def test_a_deleted_link_is_found(index: int) -> None:
    entries, links = log()
    head = links[-1]
    del links[index]
    assert verify_log(links, entries, head=head).fault is not None
    assert verify_log(links, entries).fault is not None, "an event without a link is found without a head"


@given(positions)
def test_an_event_deleted_with_its_link_is_found(index: int) -> None:
    entries, links = log()
    head = links[-1]
    del entries[index], links[index]
    assert verify_log(links, entries, head=head).fault is not None


@given(positions)
def test_an_inserted_event_is_named(index: int) -> None:
    entries, links = log()
    extra = entries[index]._replace(seq=entries[index].seq + 1)
    fault = verify_log(links, [*entries[: index + 1], extra, *entries[index + 1 :]]).fault
    assert fault is not None and fault.event == extra.id


def test_an_event_appended_without_a_link_is_named() -> None:
    entries, links = log()
    last = [entry for entry in entries if entry.run == "r1"][-1]
    extra = resealed(last._replace(seq=last.seq + 1), last.hash, b"{}")
    fault = verify_log(links, [*entries, extra]).fault
    assert fault is not None and fault.event == extra.id and "no link" in fault.because


def test_a_whole_run_without_links_is_named() -> None:
    entries, links = log()
    fault = verify_log(links, [*entries, *run_of("r3")]).fault
    assert fault is not None and fault.event == "r3:1"


@given(positions, positions)
def test_swapped_links_are_found(one: int, other: int) -> None:
    entries, links = log()
    links[one], links[other] = links[other], links[one]
    assert verify_log(links, entries).intact is (one == other)


def test_events_of_one_run_linked_in_another_order_are_found() -> None:
    one = run_of("r1")
    order = [one[0], one[2], one[1], *one[3:]]
    fault = verify_log(links_of(order), one).fault
    assert fault is not None and fault.event == "r1:3"


@given(positions)
def test_an_end_cut_off_cleanly_is_found_by_the_known_head(index: int) -> None:
    entries, links = log()
    kept, kept_links = entries[:index], links[:index]
    assert verify_log(kept_links, kept).intact, "without a head it cannot be seen"
    fault = verify_log(kept_links, kept, head=links[-1]).fault
    assert fault is not None and "cut off" in fault.because and fault.position == len(links)


def test_a_head_noted_earlier_still_stands_after_the_log_has_grown() -> None:
    entries, links = log()
    assert verify_log(links, entries, head=links[3]).intact


def test_a_log_rewritten_from_some_event_on_is_found_by_the_known_head() -> None:
    entries, links = log()
    head = links[-1]
    forged = rewritten(run_of("r1"))
    assert verify_run(forged) is None and verify_log(links_of(forged), forged).intact
    fault = verify_log(links_of(forged), forged, head=head).fault
    assert fault is not None
    assert verify_log(links_of(entries), entries, head=replace(head, hash=ZERO)).fault is not None


def rewritten(entries: Sequence[Entry]) -> list[Entry]:
    """The run with one body changed and every hash after it made anew."""
    forged = list(entries)
    for index in range(1, len(forged)):
        body = forged[index].body
        assert body is not None
        said = b'{"call":"x","forged":true}' if index == 1 else body
        forged[index] = resealed(forged[index], forged[index - 1].hash, said)
    return forged


def test_a_run_that_was_cut_off_or_replaced_is_found_by_its_known_head() -> None:
    entries = run_of("r1")
    head = entries[-1].hash
    assert verify_run(entries, head=head) is None
    assert verify_run(entries, head=entries[2].hash) is None
    cut = verify_run(entries[:-1], head=head)
    assert cut is not None and cut.event == entries[-1].id
    assert verify_run(rewritten(entries), head=head) is not None
    assert verify_run([], head=head) is not None


@pytest.mark.parametrize("order", [[1, 0, 2], [0, 2, 1], [0, 0, 1], [0, 2, 3], [1, 2, 3]])
def test_reordered_repeated_and_missing_events_of_a_run_are_found(order: list[int]) -> None:
    entries = run_of("r1")
    assert verify_run([entries[index] for index in order]) is not None


def test_a_run_holds_events_of_one_run_and_begins_with_its_start() -> None:
    entries = run_of("r1")
    assert verify_run([*entries, *run_of("r2")]) is not None
    other = resealed(entries[0]._replace(kind="CallStarted"), ZERO, b"{}")
    fault = verify_run([other])
    assert fault is not None and "begins with RunStarted" in fault.because


def test_a_salt_of_another_length_is_found() -> None:
    entries, links = log()
    body = entries[4].body
    assert body is not None
    moved = entries[4]._replace(salt=entries[4].salt + body[:1], body=body[1:])
    assert len(moved.salt) == SALT_BYTES + 1
    entries[4] = moved
    assert verify_log(links, entries).fault is not None


@given(st.integers(1, 5), positions, st.sampled_from([None, "body", "hash", "gone", "missing", "twice"]))
def test_a_log_is_walked_a_page_at_a_time_and_comes_to_the_same(
    page: int, index: int, how: str | None
) -> None:
    entries, links = log()
    entry = entries[index]
    if how == "body":
        entries[index] = entry._replace(body=b"{}")
    elif how == "hash":
        entries[index] = entry._replace(hash=b"x" * 32)
    elif how == "gone":
        entries[index] = gone(entry)
    elif how == "missing":
        del entries[index]
    elif how == "twice":
        entries.insert(index, entry)
    asked: list[int] = []

    def read(parts: Sequence[Part]) -> list[list[Entry]]:
        found = [
            [one for one in entries if one.run == part.run and one.seq > part.after_seq][: part.limit]
            for part in parts
        ]
        asked.append(sum(map(len, found)))
        return found

    walk = Walk(read)
    for start in range(0, len(links), page):
        walk.take(links[start : start + page])
    if how != "gone":
        assert max(asked) <= page + 2, "of each run no more than its page names, and the next one"
    walk.rest(["r1", "r2"])
    assert walk.end() == verify_log(links, entries)


def test_a_purge_far_ahead_is_found_when_its_first_body_is_missed() -> None:
    one = run_of("r1", calls=600)
    purged = [*map(gone, one), purge_of(one)]
    links = links_of(purged)
    assert verify_log(links, purged).intact
    assert verify_log(links[:-1], purged[:-1]).fault is not None


def test_a_run_that_its_list_leaves_out_is_named() -> None:
    entries, links = log()
    rows: list[RunRow] = []
    for name in ("r1", "r2"):
        row: RunRow | None = None
        for entry in run_of(name):
            row = row_after(row, entry)
        assert row is not None
        rows.append(row)

    def read(parts: Sequence[Part]) -> list[list[Entry]]:
        return [
            [one for one in entries if one.run == part.run and one.seq > part.after_seq] for part in parts
        ]

    for listed, named in ((rows, None), (rows[:1], "r2:1"), (rows[1:], "r1:1"), ([], "r1:1")):
        walk = Walk(read)
        walk.take(links)
        walk.rest(rows=listed)
        fault = walk.end().fault
        assert (None if fault is None else fault.event) == named


KINDS = ("CallRequested", "RunSuspended", "RunResumed", "BodiesPurged", "RunHalted", "RunEnded")


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 9), st.booleans()), max_size=12))
def test_what_a_list_must_say_is_what_every_event_adds_up_to(
    later: list[tuple[str, int, bool]],
) -> None:
    body, told, row = b'{"session":"s","status":"done"}', Told(), None
    for number, (kind, at_ns, asked) in enumerate([("RunStarted", 5, True), *later], start=1):
        hash = bytes([number]) * 32
        entry = Entry("r1", number, kind, 1, at_ns, at_ns, b"", body, b"", ZERO, hash)
        row = row_after(row, entry)
        told.take(entry)
        assert told.events == row.events == number
        if asked or number > len(later):
            assert told.fault(row) is None
            for other in (
                replace(row, last_ns=row.last_ns + 1),
                replace(row, events=number + 1),
                replace(row, head=ZERO),
                replace(row, status="odd"),
            ):
                assert told.fault(other) is not None
