"""A run's row: folded from a batch as from one event after another."""

from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json
from ringfence.engine.decision.events import KINDS
from ringfence.engine.journal.chain import SALT_BYTES, ZERO, chained
from ringfence.engine.journal.rows import row_after, row_after_all
from ringfence.engine.seams.ports import Entry, RunRow

BODIES: dict[str, list[Json]] = {
    "RunStarted": [{"session": "s", "agent": "a", "principal": {"user": "u"}, "parent": 7}, {}, None, [1]],
    "RunEnded": [{"status": "done"}, {"status": "halted"}, {"status": "odd"}, {}],
}


@st.composite
def stretches(draw: st.DrawFn) -> list[Entry]:
    """Any events, as a store may be given them."""
    made: list[Entry] = []
    for seq in range(1, draw(st.integers(1, 12)) + 1):
        kind = draw(st.sampled_from(sorted(KINDS)))
        body = draw(st.sampled_from(BODIES.get(kind, [{}])))
        made.append(
            chained(
                made[-1].hash if made else ZERO,
                run="r",
                seq=seq,
                kind=kind,
                schema=1,
                at_ns=draw(st.integers(0, 100)),
                mono_ns=seq,
                salt=b"s" * SALT_BYTES,
                body=canonical(body),
            )
        )
    return made


@given(entries=stretches(), split=st.integers(0, 12))
def test_a_batch_gives_the_row_that_its_events_give_one_after_another(
    entries: list[Entry], split: int
) -> None:
    row: RunRow | None = None
    for entry in entries:
        row = row_after(row, entry)
    assert row_after_all(row_after_all(None, entries[:split]), entries[split:]) == row


def test_no_event_changes_no_row() -> None:
    assert row_after_all(None, []) is None
