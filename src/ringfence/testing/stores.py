"""What every store must do: subclass the contracts of the parts that yours keeps.

    class TestMyLog(EventLogContract):
        def make(self, folder: Path) -> Store:
            return MyStore(f"mine://{folder}")

Each test gets a store of its own from `make`, opened and closed by the contract.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json
from ringfence.engine.decision.events import BodiesPurged
from ringfence.engine.journal.chain import SALT_BYTES, ZERO, chained, entry_fault, link_fault
from ringfence.engine.journal.purging import purge_after
from ringfence.engine.seams.errors import EngineError, TakenOverError
from ringfence.engine.seams.ports import (
    Entry,
    EventLog,
    KillSwitch,
    Leases,
    RunRow,
    Store,
    Ticket,
    TicketStore,
)

NOW_NS = 1_795_000_000_000_000_000
MINUTE_NS = 60_000_000_000
ROW = RunRow("run-1", "s1", "support", "alice", None, "support_desk", "done", NOW_NS, NOW_NS, 1, ZERO)
"""What a list of runs may say of a run."""


def entry_after(last: Entry | None, kind: str = "CallStarted", *, run: str = "run-1", **body: Json) -> Entry:
    """Return the event that follows `last` in its run, or the first of `run`, one second later."""
    seq = last.seq + 1 if last else 1
    return chained(
        last.hash if last else ZERO,
        run=last.run if last else run,
        seq=seq,
        kind=kind,
        schema=1,
        at_ns=NOW_NS + seq * 1_000_000_000,
        mono_ns=seq,
        salt=bytes([seq % 256]) * SALT_BYTES,
        body=canonical(body),
    )


def entries(count: int, *, run: str = "run-1") -> list[Entry]:
    """Return the first `count` events of a run."""
    made: list[Entry] = []
    for number in range(count):
        made.append(entry_after(made[-1] if made else None, run=run, call=f"c{number}"))
    return made


def started(run: str = "run-1", session: str = "s1", **fields: Json) -> Entry:
    """Return a first event that says whose run it is."""
    body: dict[str, Json] = {
        "session": session,
        "agent": "support",
        "principal": {"user": "alice", "workspace": "w1"},
        "policy": "support_desk",
        "parent": None,
        **fields,
    }
    return entry_after(None, "RunStarted", run=run, **body)


def ticket(ticket_id: str = "T-AAAA1111", **fields: object) -> Ticket:
    """Return an open ticket, with `fields` in place of the usual ones."""
    usual: dict[str, object] = {
        "id": ticket_id,
        "run": "run-1",
        "call": "c1.0",
        "tool": "send_email",
        "arguments": {"to": ["ann@customer.example"], "size": 1.5, "note": None},
        "digest": "sha256:00",
        "policy_digest": "sha256:11",
        "approver": "support_lead",
        "group": None,
        "quorum": 1,
        "never": "alice",
        "because": "more than three recipients",
        "sources": {"to": ("user", "contacts.email"), "size": ()},
        "asked_ns": NOW_NS,
        "expires_ns": NOW_NS + MINUTE_NS,
    }
    return Ticket(**{**usual, **fields})  # type: ignore[arg-type]  # the fields are the caller's


class StoreContract(ABC):
    """How a contract comes by its store."""

    @abstractmethod
    def make(self, folder: Path) -> Store:
        """Return a new, unopened store; two made for one folder share it, if yours can be shared."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Return the folder of this test."""
        return tmp_path

    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[Store]:
        """Make a store, open it, and close it in the end."""
        store = self.make(folder)
        await store.open()
        try:
            yield store
        finally:
            await store.close()


@pytest.mark.asyncio
class EventLogContract(StoreContract):
    """An audit log: appended to at the end, all or none, in one order, and nothing twice."""

    @asynccontextmanager
    async def log(self, folder: Path) -> AsyncIterator[EventLog]:
        """Open a store and give its log."""
        async with self.opened(folder) as store:
            assert store.events is not None
            yield store.events

    async def test_what_was_appended_is_read_as_it_was(self, folder: Path) -> None:
        """Every field of every entry comes back."""
        async with self.log(folder) as log:
            batch = [started()]
            batch.append(entry_after(batch[0], "CallFinished", result="\u2028 é \x00"))
            await log.append(batch)
            assert await log.read("run-1") == batch
            assert await log.read("run-1", after_seq=1) == batch[1:]
            assert await log.read("run-1", limit=1) == batch[:1]
            assert await log.read("run-1", after_seq=1, limit=5) == batch[1:]
            assert await log.read("run-1", limit=0) == []
            assert await log.read("unknown") == []

    async def test_a_purged_body_is_kept_as_purged(self, folder: Path) -> None:
        """None is not an empty body."""
        async with self.log(folder) as log:
            purged = entry_after(None, call="c")._replace(body=None, salt=b"")
            await log.append([purged])
            assert await log.read("run-1") == [purged]

    async def test_a_purge_says_so_and_removes_what_it_names_and_nothing_else(self, folder: Path) -> None:
        """Body and salt of its run's events go, all else of them stays, and so do other runs."""
        async with self.log(folder) as log:
            first = started(parent="run-0")
            one = [first, entry_after(first, "RunEnded", status="done", error="\x00" * 9_000)]
            two = entries(3, run="run-2")
            await log.append([*one, *two])
            before = await log.run("run-1")
            assert before is not None
            purge = purge_after(one[-1], before, before_ns=NOW_NS, by="dana", now_ns=NOW_NS + MINUTE_NS)
            assert await log.purge(purge, upto=2) == 2
            gone = [entry._replace(body=None, salt=b"") for entry in one]
            assert await log.read("run-1") == [*gone, purge]
            assert await log.read("run-2") == two
            row = await log.run("run-1")
            assert row == replace(before, events=3, head=purge.hash, last_ns=purge.at_ns)
            links = await log.links()
            assert [(link.position, link.run, link.seq) for link in links[4:]] == [
                (5, "run-2", 3),
                (6, "run-1", 3),
            ]
            assert link_fault(links[5], prev=links[4].hash, position=6, hash=purge.hash) is None
            await log.scrub()
            await log.append([entry_after(two[-1])])
            assert await log.read("run-1") == [*gone, purge]

    async def test_a_purge_is_done_once_and_leaves_the_words_of_an_earlier_one(self, folder: Path) -> None:
        """Asked again it changes nothing; what comes later in the run can be purged as well."""
        async with self.log(folder) as log:
            made = entries(3)
            await log.append(made)
            purge = purge_after(made[-1], ROW, before_ns=NOW_NS, by=None, now_ns=NOW_NS)
            assert await log.purge(purge, upto=2) == 2
            found = await log.read("run-1")
            assert [entry.body is None for entry in found] == [True, True, False, False]
            assert await log.purge(purge, upto=2) == 0
            assert await log.read("run-1") == found and len(await log.links()) == 4
            again = purge_after(purge, ROW, before_ns=NOW_NS, by=None, now_ns=NOW_NS)
            assert await log.purge(again, upto=4) == 1
            assert [entry.body is None for entry in await log.read("run-1")] == [True] * 3 + [False] * 2

    async def test_a_purge_that_does_not_come_next_in_its_run_changes_nothing(self, folder: Path) -> None:
        """Somebody wrote in the run meanwhile, or it is not there, or it is no purge of what was before."""
        async with self.log(folder) as log:
            made = entries(3)
            await log.append(made)
            late = purge_after(made[1], ROW, before_ns=NOW_NS, by=None, now_ns=NOW_NS)
            early = late._replace(seq=5, prev=made[-1].hash)
            stranger = purge_after(entries(1, run="run-9")[0], ROW, before_ns=NOW_NS, by=None, now_ns=NOW_NS)
            for purge in (late, early, stranger):
                with pytest.raises(TakenOverError) as caught:
                    await log.purge(purge, upto=1)
                assert caught.value.run == purge.run
            right = purge_after(made[-1], ROW, before_ns=NOW_NS, by=None, now_ns=NOW_NS)
            for entry, upto in ((right, 4), (right, 0), (entry_after(made[-1]), 3)):
                with pytest.raises(EngineError, match="is no purge"):
                    await log.purge(entry, upto=upto)
            assert await log.read("run-1") == made
            assert len(await log.links()) == 3 and await log.run("run-9") is None

    async def test_of_many_purges_at_once_one_is_done(self, folder: Path) -> None:
        """The others are told that they came too late."""
        async with self.log(folder) as log:
            made = entries(4)
            await log.append(made)
            asked = [
                purge_after(made[-1], ROW, before_ns=NOW_NS, by=f"p{n}", now_ns=NOW_NS) for n in range(5)
            ]
            done = await asyncio.gather(*(log.purge(one, upto=4) for one in asked), return_exceptions=True)
            assert [one for one in done if isinstance(one, int)] == [4]
            assert sum(isinstance(one, TakenOverError) for one in done) == 4
            assert [entry.kind for entry in await log.read("run-1")][4:] == [BodiesPurged.kind]

    async def test_appending_again_changes_nothing(self, folder: Path) -> None:
        """An append may be repeated: also together with new entries, and twice in one batch."""
        async with self.log(folder) as log:
            batch = entries(5)
            await log.append(batch[:3])
            head = await log.head()
            await log.append(batch[:3])
            assert await log.head() == head
            await log.append([*batch[1:], batch[4]])
            assert await log.read("run-1") == batch
            assert len(await log.links()) == 5
            row = await log.run("run-1")
            assert row is not None
            assert (row.events, row.head) == (5, batch[4].hash)

    async def test_another_event_under_a_known_id_raises_and_nothing_of_its_batch_stays(
        self, folder: Path
    ) -> None:
        """All or none."""
        async with self.log(folder) as log:
            batch = entries(2)
            await log.append(batch)
            other = entry_after(None, call="other")
            with pytest.raises(TakenOverError, match="run-1:1") as caught:
                await log.append([*entries(1, run="run-2"), other])
            assert caught.value.run == "run-1", "the journal leaves that run's events out and tries again"
            with pytest.raises(TakenOverError, match="run-3:1"):
                await log.append([entry_after(None, run="run-3", a=1), entry_after(None, run="run-3", a=2)])
            assert await log.read("run-1") == batch
            assert await log.run("run-2") is None
            assert await log.read("run-3") == []
            assert len(await log.links()) == 2

    async def test_the_links_chain_all_runs_in_the_order_of_appending(self, folder: Path) -> None:
        """Every link names its event and follows the one before."""
        async with self.log(folder) as log:
            one, two = entries(3), entries(2, run="run-2")
            for batch in ([one[0], two[0]], [one[1]], [two[1], one[2]]):
                await log.append(batch)
            links = await log.links()
            assert [f"{link.run}:{link.seq}" for link in links] == [
                "run-1:1",
                "run-2:1",
                "run-1:2",
                "run-2:2",
                "run-1:3",
            ]
            hashes = {entry.id: entry.hash for entry in [*one, *two]}
            prev = ZERO
            for position, link in enumerate(links, 1):
                found = hashes[f"{link.run}:{link.seq}"]
                assert link_fault(link, prev=prev, position=position, hash=found) is None
                prev = link.hash
            assert await log.head() == links[-1]
            assert await log.links(after=1, limit=2) == links[1:3]

    async def test_an_empty_log_has_no_head(self, folder: Path) -> None:
        """None, not a link of zeros."""
        async with self.log(folder) as log:
            assert await log.head() is None
            assert await log.links() == []
            await log.append([])
            assert await log.head() is None

    async def test_appends_at_once_interleave_without_a_gap(self, folder: Path) -> None:
        """Many callers, one order."""
        async with self.log(folder) as log:
            runs = [entries(4, run=f"run-{number}") for number in range(30)]

            async def write(run: list[Entry]) -> None:
                for entry in run:
                    await log.append([entry])

            await asyncio.gather(*(write(run) for run in runs))
            assert [link.position for link in await log.links()] == list(range(1, 121))
            for run in runs:
                assert await log.read(run[0].run) == run

    async def test_a_runs_row_follows_its_events(self, folder: Path) -> None:
        """Names from RunStarted, status from the kinds, and a final status stays."""
        async with self.log(folder) as log:
            last = started(parent="run-0")
            await log.append([last])
            row = await log.run("run-1")
            assert row is not None
            assert (row.session, row.agent, row.user, row.workspace) == ("s1", "support", "alice", "w1")
            assert (row.policy, row.parent, row.started_ns) == ("support_desk", "run-0", last.at_ns)
            for kind, body, status in (
                ("CallRequested", {}, "running"),
                ("RunSuspended", {"tickets": []}, "suspended"),
                ("ApprovalAnswered", {}, "suspended"),
                ("RunResumed", {"process": "p"}, "running"),
                ("RunHalted", {"reason": "x"}, "halted"),
                ("RunEnded", {"status": "done", "error": None}, "halted"),
            ):
                last = entry_after(last, kind, **body)
                await log.append([last])
                row = await log.run("run-1")
                assert row is not None
                assert (row.status, row.events, row.head, row.last_ns) == (
                    status,
                    last.seq,
                    last.hash,
                    last.at_ns,
                )

    @pytest.mark.parametrize(("said", "status"), [("done", "done"), ("failed", "failed"), ("odd", "failed")])
    async def test_the_end_of_a_run_says_its_status(self, folder: Path, said: str, status: str) -> None:
        """A status that is none of ours is a failure."""
        async with self.log(folder) as log:
            first = started()
            await log.append([first, entry_after(first, "RunEnded", status=said, error=None)])
            row = await log.run("run-1")
            assert row is not None
            assert row.status == status

    async def test_runs_are_listed_newest_first(self, folder: Path) -> None:
        """By session, and no more than asked for."""
        async with self.log(folder) as log:
            for number in range(4):
                await log.append([started(f"run-{number}", f"s{number % 2}")])
            assert [row.run for row in await log.runs()] == ["run-3", "run-2", "run-1", "run-0"]
            assert [row.run for row in await log.runs(session="s1")] == ["run-3", "run-1"]
            assert [row.run for row in await log.runs(limit=2)] == ["run-3", "run-2"]
            assert await log.runs(session="none") == []
            assert len(await log.runs(status="running")) == 4
            assert len(await log.runs(status="running", session="s1", limit=1)) == 1
            assert await log.runs(status="done") == []

    async def test_runs_are_found_by_all_that_their_row_holds(self, folder: Path) -> None:
        """Each by itself, several together, and odd names as well."""
        said: list[tuple[str, Json, Json]] = [
            ("main", "alice", "w1"),
            ("main", "bob", None),
            ("helper", None, "w1"),
            ("o\x00dd\\\u2028", "", ""),
        ]
        async with self.log(folder) as log:
            batch: list[Entry] = []
            for number, (agent, user, workspace) in enumerate(said):
                principal: dict[str, Json] = {"user": user, "workspace": workspace}
                first = started(f"run-{number}", agent=agent, principal=principal)
                batch.append(first._replace(at_ns=NOW_NS + number))
            await log.append(batch)

            async def found(**asked: Any) -> list[str]:
                return [row.run.removeprefix("run-") for row in await log.runs(**asked)]

            assert await found(agent="main") == ["1", "0"]
            assert await found(user="alice") == ["0"]
            assert await found(workspace="w1") == ["2", "0"]
            assert await found(agent=said[3][0], user="", workspace="") == ["3"]
            assert await found(agent="main", workspace="w1", status="running", session="s1") == ["0"]
            assert await found(agent="Main") == await found(user="None") == []
            assert await found(since_ns=NOW_NS + 2) == ["3", "2"]
            assert await found(until_ns=NOW_NS + 2) == ["1", "0"]
            assert await found(since_ns=NOW_NS + 1, until_ns=NOW_NS + 3, limit=1) == ["2"]
            assert await found(since_ns=-(10**30), until_ns=10**30) == ["3", "2", "1", "0"]
            assert await found(since_ns=10**30) == await found(until_ns=-(10**30)) == []

    async def test_the_chain_of_a_long_run_verifies(self, folder: Path) -> None:
        """What is read is what was chained."""
        async with self.log(folder) as log:
            await log.append(entries(600))
            prev = ZERO
            for number, entry in enumerate(await log.read("run-1"), 1):
                assert entry_fault(entry, prev=prev, seq=number) is None
                prev = entry.hash


@pytest.mark.asyncio
class TicketStoreContract(StoreContract):
    """Tickets: kept as they are, changed only by who knows what they hold."""

    @asynccontextmanager
    async def tickets(self, folder: Path) -> AsyncIterator[TicketStore]:
        """Open a store and give its tickets."""
        async with self.opened(folder) as store:
            assert store.tickets is not None
            yield store.tickets

    async def test_a_ticket_comes_back_as_it_was(self, folder: Path) -> None:
        """Every field, answers and odd text included."""
        async with self.tickets(folder) as tickets:
            made = ticket(
                answers=(("dana", "approve", None), ("eve", "reject", "no \u202e")),
                arguments={"a": [1, {"b": None}], "c": 0.1, "d": "\x00\u2028é"},
                never=None,
                group="support-leads",
            )
            await tickets.open(made)
            assert await tickets.get(made.id) == made
            assert await tickets.get("T-NONE0000") is None

    async def test_an_id_is_given_once(self, folder: Path) -> None:
        """A second ticket under one id is refused, and the first stays."""
        async with self.tickets(folder) as tickets:
            await tickets.open(ticket())
            with pytest.raises(Exception, match="T-AAAA1111"):
                await tickets.open(ticket(tool="other"))
            assert await tickets.get("T-AAAA1111") == ticket()

    async def test_tickets_are_found_by_call_and_while_open_oldest_first(self, folder: Path) -> None:
        """Of one time, the one stored first comes first."""
        async with self.tickets(folder) as tickets:
            made = [
                ticket("T-1", asked_ns=NOW_NS + 5),
                ticket("T-2", asked_ns=NOW_NS),
                ticket("T-3", asked_ns=NOW_NS, call="c2.0"),
                ticket("T-4", asked_ns=NOW_NS, run="run-2"),
                ticket("T-5", asked_ns=NOW_NS, status="approved"),
            ]
            for each in made:
                await tickets.open(each)
            assert [t.id for t in await tickets.of_call("run-1", "c1.0")] == ["T-2", "T-5", "T-1"]
            assert [t.id for t in await tickets.pending()] == ["T-2", "T-3", "T-4", "T-1"]
            assert await tickets.of_call("run-1", "none") == []
            asked = {"T-1", "T-4", "T-5", "T-NONE"}
            assert {t.id: t for t in await tickets.those(asked)} == {t.id: t for t in made if t.id in asked}
            assert await tickets.those([]) == []

    async def test_a_swap_needs_exactly_the_ticket_that_is_stored(self, folder: Path) -> None:
        """Compare and set: any other field, and nothing happens."""
        async with self.tickets(folder) as tickets:
            old = ticket()
            new = replace(old, status="approved", answers=(("dana", "approve", None),))
            await tickets.open(old)
            for wrong in (replace(old, quorum=2), replace(old, arguments={}), ticket("T-OTHER000")):
                assert not await tickets.swap(wrong, replace(new, id=wrong.id))
            assert not await tickets.swap(old, replace(new, id="T-OTHER000"))
            assert await tickets.get(old.id) == old
            assert await tickets.swap(old, new)
            assert not await tickets.swap(old, new)
            assert await tickets.get(old.id) == new
            assert await tickets.pending() == []
            assert await tickets.swap(new, replace(new, status="used"))

    async def test_closed_tickets_of_runs_are_found_and_forgotten(self, folder: Path) -> None:
        """Those of other runs stay, and so do those that are open."""
        async with self.tickets(folder) as tickets:
            made = [
                ticket("T-1", run="run-1", status="used"),
                ticket("T-2", run="run-1"),
                ticket("T-3", run="run-2", status="rejected", call="c9.0"),
                ticket("T-4", run="run-3", status="expired"),
            ]
            for each in made:
                await tickets.open(each)
            assert await tickets.closed([]) == {} and await tickets.closed(["run"]) == {}
            found = await tickets.closed({"run-1", "run-2", "none"})
            assert found == {"run-1": ["T-1"], "run-2": ["T-3"]}
            assert await tickets.forget([]) == 0
            assert await tickets.forget(["T-1", "T-2", "T-3", "T-NONE"]) == 2
            assert [await tickets.get(each.id) for each in made] == [None, made[1], None, made[3]]
            assert await tickets.forget(["T-1"]) == 0
            assert await tickets.closed(["run-1", "run-2", "run-3"]) == {"run-3": ["T-4"]}

    async def test_of_many_swaps_at_once_one_succeeds(self, folder: Path) -> None:
        """A ticket is used once."""
        async with self.tickets(folder) as tickets:
            old = ticket(status="approved")
            await tickets.open(old)
            asked = [tickets.swap(old, replace(old, status="used")) for _ in range(20)]
            assert (await asyncio.gather(*asked)).count(True) == 1

    async def test_changing_the_arguments_that_were_handed_in_changes_no_ticket(self, folder: Path) -> None:
        """Nor do those that were handed out."""
        async with self.tickets(folder) as tickets:
            arguments: dict[str, Json] = {"to": ["ann@customer.example"]}
            await tickets.open(ticket(arguments=arguments))
            arguments["to"].append("eve@attacker.example")
            read = await tickets.get("T-AAAA1111")
            assert read is not None
            assert read.arguments == {"to": ["ann@customer.example"]}
            read.arguments["to"].append("eve@attacker.example")
            stored = ticket(arguments={"to": ["ann@customer.example"]})
            assert await tickets.get("T-AAAA1111") == stored
            edited: dict[str, Json] = {"to": ["bob@customer.example"]}
            assert await tickets.swap(stored, replace(stored, edited=MappingProxyType(edited)))
            edited["to"].append("eve@attacker.example")
            answered = await tickets.get("T-AAAA1111")
            assert answered is not None
            assert answered.edited == {"to": ["bob@customer.example"]}


@pytest.mark.asyncio
class LeasesContract(StoreContract):
    """Leases of sessions."""

    @asynccontextmanager
    async def leases(self, folder: Path) -> AsyncIterator[Leases]:
        """Open a store and give its leases."""
        async with self.opened(folder) as store:
            assert store.leases is not None
            yield store.leases

    async def test_a_session_has_one_holder(self, folder: Path) -> None:
        """Who has it may take it again; who has it not cannot give it back."""
        async with self.leases(folder) as leases:
            assert await leases.lease("s1", "one") is None
            assert await leases.lease("s1", "one") is None
            assert await leases.lease("s1", "two") == "one"
            assert await leases.lease("s2", "two") is None
            await leases.release("s1", "two")
            assert await leases.lease("s1", "two") == "one"
            assert await leases.holds("s1", "one") and not await leases.holds("s1", "two")
            assert await leases.holder("s1") == "one" and await leases.holder("s3") is None
            await leases.release("s1", "one")
            assert not await leases.holds("s1", "one")
            assert await leases.lease("s1", "two") is None

    async def test_of_many_at_once_one_takes_the_session(self, folder: Path) -> None:
        """The others are told who."""
        async with self.leases(folder) as leases:
            answers = await asyncio.gather(*(leases.lease("s1", f"h{number}") for number in range(10)))
            assert answers.count(None) == 1
            winner = f"h{answers.index(None)}"
            assert {answer for answer in answers if answer is not None} == {winner}

    async def test_who_is_gone_has_nothing(self, folder: Path) -> None:
        """Its sessions fall to whoever asks next; those of others stay."""
        async with self.leases(folder) as leases:
            assert await leases.keep_alive("one") > 0
            for session in ("s1", "s2"):
                assert await leases.lease(session, "one") is None
            assert await leases.lease("s3", "two") is None
            await leases.gone("one")
            assert not await leases.holds("s1", "one") and await leases.holder("s1") is None
            assert await leases.lease("s1", "three") is None
            assert await leases.lease("s3", "three") == "two"


@pytest.mark.asyncio
class KillSwitchContract(StoreContract):
    """Orders to stop, and who has obeyed them."""

    @asynccontextmanager
    async def kill_switch(self, folder: Path) -> AsyncIterator[KillSwitch]:
        """Open a store and give its kill switch."""
        async with self.opened(folder) as store:
            assert store.kill_switch is not None
            yield store.kill_switch

    async def test_orders_to_stop_rise_and_are_read_after_the_last_seen(self, folder: Path) -> None:
        """All fields come back."""
        async with self.kill_switch(folder) as switch:
            assert await switch.orders() == [] and await switch.latest() == 0
            made = [
                await switch.order(run="run-1", agent=None, by="dana", at_ns=NOW_NS),
                await switch.order(run=None, agent="support", by=None, at_ns=NOW_NS + 1),
                await switch.order(run=None, agent=None, by=None, at_ns=NOW_NS + 2),
            ]
            found = await switch.orders()
            assert found == made
            assert [order.id for order in found] == sorted({order.id for order in found})
            assert found[0].id > 0 and found[-1].id < 2**53
            assert await switch.latest() == found[-1].id
            assert await switch.orders(after=found[0].id) == found[1:]
            assert await switch.orders(after=found[-1].id) == []

    async def test_who_attends_has_obeyed_what_was_ordered_before_it_came(self, folder: Path) -> None:
        """And later orders once it says so."""
        async with self.kill_switch(folder) as switch:
            first = await switch.order(run=None, agent=None, by=None, at_ns=NOW_NS)
            assert await switch.attendants() == []
            assert await switch.keep_alive("one") > 0
            second = await switch.order(run="run-1", agent=None, by=None, at_ns=NOW_NS)
            assert await switch.keep_alive("one") > 0
            (found,) = await switch.attendants()
            assert (found.holder, found.obeyed, found.in_flight) == ("one", first.id, 0)
            await switch.obeyed("one", second.id, in_flight=2)
            (found,) = await switch.attendants()
            assert (found.obeyed, found.in_flight) == (second.id, 2)
            await switch.obeyed("one", first.id, in_flight=0)
            (found,) = await switch.attendants()
            assert found.obeyed == second.id, "an older acknowledgement takes nothing back"
            assert found.silent_s >= 0
            await switch.gone("one")
            assert await switch.attendants() == []

    async def test_an_order_and_an_acknowledgement_are_news(self, folder: Path) -> None:
        """Long before the time is up."""
        async with self.kill_switch(folder) as switch:
            await switch.news(seconds=0)
            order = await switch.order(run=None, agent=None, by=None, at_ns=NOW_NS)
            await asyncio.wait_for(switch.news(seconds=3600), 60)
            await switch.obeyed("one", order.id, in_flight=0)
            await asyncio.wait_for(switch.news(seconds=3600), 60)
