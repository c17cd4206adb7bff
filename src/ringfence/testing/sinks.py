"""What every audit sink must do: subclass `AuditSinkContract` and say how to make and read yours.

One that does not keep events but something that it makes of them subclasses `DerivingSinkContract`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from hashlib import sha256

import pytest

from ringfence.engine.seams.hookspecs import AuditSink, Event
from ringfence.testing.clock import START_NS


def event(seq: int, *, run: str = "run-1", text: str = "hello") -> Event:
    """Return an event as the log gives it to sinks; the same arguments give the same event."""
    return Event(
        id=f"{run}:{seq}",
        run=run,
        seq=seq,
        kind="PromptGiven",
        schema=1,
        at_ns=START_NS + seq,
        mono_ns=seq,
        body={"source": "user", "text": text},
        hash=sha256(f"{run}:{seq}:{text}".encode()).hexdigest(),
        prev=sha256(f"{run}:{seq - 1}".encode()).hexdigest(),
        digest=sha256(text.encode()).hexdigest(),
        salt="5a" * 16,
    )


class DerivingSinkContract(ABC):
    """Tests that pytest runs for each subclass whose name begins with `Test`.

    They are for a sink that delivers something made of events, like spans or counts.

    Bring `make`, `some`, `arrived` and `break_down`.  Needs pytest-asyncio in `auto` mode.
    """

    @abstractmethod
    def make(self) -> AuditSink:
        """Return a sink, not yet opened.  A second one stands for the same place after a restart."""

    @abstractmethod
    def some(self, number: int) -> Sequence[Event]:
        """Return events of which something must arrive; another number, of another run."""

    @abstractmethod
    async def arrived(self) -> Sequence[object]:
        """Return what is durable at the sink's end, as its readers see it, without the sink's help."""

    @abstractmethod
    async def break_down(self) -> None:
        """Make the place where the sink delivers to unavailable from now on."""

    async def test_it_is_named_and_says_what_may_be_set(self) -> None:
        sink = self.make()
        assert sink.name and sink.name == type(sink).name
        assert not {"required", "timeout_s"} & set(type(sink).Settings.model_fields)

    async def test_what_it_returned_from_has_arrived(self) -> None:
        sink = self.make()
        await sink.open()
        await sink.write(self.some(1))
        assert list(await self.arrived()), "durable before `close`"
        await sink.close()

    async def test_it_does_not_matter_how_events_are_batched(self) -> None:
        sink = self.make()
        await sink.open()
        for one in [*self.some(1), *self.some(2)]:
            await sink.write([one])
        singly = list(await self.arrived())
        await sink.write([*self.some(1), *self.some(2)])
        await sink.close()
        assert singly and list(await self.arrived()) == singly

    async def test_what_comes_again_changes_nothing(self) -> None:
        sink = self.make()
        await sink.open()
        await sink.write(self.some(1))
        once = list(await self.arrived())
        await sink.write(self.some(1))
        await sink.write([*self.some(1), *self.some(1)])
        await sink.close()
        assert list(await self.arrived()) == once

    async def test_what_comes_again_after_a_restart_changes_nothing(self) -> None:
        before = self.make()
        await before.open()
        await before.write(self.some(1))
        once = list(await self.arrived())
        await before.close()
        after = self.make()
        await after.open()
        await after.write(self.some(1))
        assert list(await self.arrived()) == once
        await after.write(self.some(2))
        await after.close()
        assert len(await self.arrived()) > len(once)

    async def test_an_empty_batch_is_no_failure(self) -> None:
        sink = self.make()
        await sink.open()
        await sink.write([])
        await sink.close()
        assert list(await self.arrived()) == []

    async def test_what_cannot_be_delivered_raises(self) -> None:
        sink = self.make()
        await self.break_down()
        with pytest.raises(Exception):  # noqa: B017 - which exception is the sink's own business
            await sink.open()
            await sink.write(self.some(1))
        await sink.close()

    async def test_a_delivery_that_breaks_down_later_raises_too(self) -> None:
        sink = self.make()
        await sink.open()
        await sink.write(self.some(1))
        await self.break_down()
        with pytest.raises(Exception):  # noqa: B017 - as above
            await sink.write(self.some(2))
        await sink.close()

    async def test_writing_after_close_raises(self) -> None:
        sink = self.make()
        await sink.open()
        await sink.close()
        with pytest.raises(Exception):  # noqa: B017 - as above
            await sink.write(self.some(1))
        assert list(await self.arrived()) == []

    async def test_closing_twice_or_without_opening_is_no_failure(self) -> None:
        sink = self.make()
        await sink.close()
        again = self.make()
        await again.open()
        await again.close()
        await again.close()

    async def test_its_settings_never_show_a_secret(self) -> None:
        sink = self.make()
        for name in type(sink).Settings.model_fields:
            value = getattr(sink.settings, name)
            if hasattr(value, "get_secret_value") and value.get_secret_value():
                assert str(value.get_secret_value()) not in f"{sink.settings!r} {sink!r} {sink.settings}"


class AuditSinkContract(DerivingSinkContract):
    """Tests that pytest runs for each subclass whose name begins with `Test`: of a sink that keeps events.

    Bring `make`, `taken` and `break_down`; fixtures are at hand as in any test class (an autouse
    fixture may set `self.path` and the like).  Needs pytest-asyncio in `auto` mode.
    """

    @abstractmethod
    async def taken(self) -> Sequence[Event]:
        """Return what is durable at the sink's end, in its order, read without the sink's help."""

    def some(self, number: int) -> Sequence[Event]:
        """Return an event."""
        return [event(1, run=f"run-{number}")]

    async def arrived(self) -> Sequence[object]:
        """Return the events that are there."""
        return await self.taken()

    async def test_what_it_returned_from_is_durable(self) -> None:
        sink = self.make()
        await sink.open()
        await sink.write([event(1), event(2)])
        assert list(await self.taken()) == [event(1), event(2)], "durable before `close`, nothing added"
        await sink.close()

    async def test_batches_keep_their_order(self) -> None:
        sink = self.make()
        await sink.open()
        for seq in range(1, 10, 3):
            await sink.write([event(seq), event(seq + 1), event(seq + 2)])
        await sink.close()
        assert [taken.seq for taken in await self.taken()] == list(range(1, 10))

    async def test_an_event_that_comes_again_is_taken_once(self) -> None:
        sink = self.make()
        await sink.open()
        await sink.write([event(1), event(2)])
        await sink.write([event(2), event(3)])
        await sink.write([event(1), event(2), event(3)])
        await sink.close()
        assert list(await self.taken()) == [event(1), event(2), event(3)]

    async def test_an_event_that_comes_again_within_one_batch_is_taken_once(self) -> None:
        sink = self.make()
        await sink.open()
        await sink.write([event(1), event(1), event(2)])
        await sink.close()
        assert list(await self.taken()) == [event(1), event(2)]

    async def test_an_event_that_comes_again_after_a_restart_is_taken_once(self) -> None:
        before = self.make()
        await before.open()
        await before.write([event(1), event(2)])
        await before.close()
        after = self.make()
        await after.open()
        await after.write([event(1), event(2), event(3)])
        await after.close()
        assert list(await self.taken()) == [event(1), event(2), event(3)]

    async def test_runs_are_told_apart(self) -> None:
        sink = self.make()
        await sink.open()
        await sink.write([event(1, run="run-1"), event(1, run="run-2")])
        await sink.close()
        assert [taken.id for taken in await self.taken()] == ["run-1:1", "run-2:1"]

    async def test_text_of_any_kind_arrives_as_it_was(self) -> None:
        text = 'Grüße, 世界 \U0001f40d \u202e right to left, \x00 \x1b[2J \u2028 \r\n lines, \\ " quotes'
        sink = self.make()
        await sink.open()
        await sink.write([event(1, text=text)])
        await sink.close()
        assert list(await self.taken()) == [event(1, text=text)]

    async def test_a_big_batch_arrives_whole(self) -> None:
        batch = [event(seq, text="x" * 200) for seq in range(1, 5_001)]
        sink = self.make()
        await sink.open()
        await sink.write(batch)
        await sink.close()
        assert list(await self.taken()) == batch

    async def test_an_event_without_a_body_is_taken(self) -> None:
        purged = Event("run-1:1", "run-1", 1, "PromptGiven", 1, START_NS, 0, None, "0" * 64)
        sink = self.make()
        await sink.open()
        await sink.write([purged])
        await sink.close()
        assert list(await self.taken()) == [purged]
