"""Each kind of extension fails in its own direction: gates and required sinks closed, observers open."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, field_validator

from ringfence.engine.seams.dispatch import Extensions
from ringfence.engine.seams.errors import EngineError, SettingsError
from ringfence.engine.seams.hookspecs import (
    Answers,
    ApprovalBackend,
    AuditSink,
    Event,
    Question,
    SettingsPath,
    hookimpl,
)
from ringfence.engine.seams.ports import Entry, Store
from ringfence.engine.seams.settings import Settings
from ringfence.testing import FakeAnswers, question

Behaviour = Callable[[], Awaitable[None]]


async def works() -> None: ...


async def raises() -> None:
    raise RuntimeError("out of order")


async def hangs() -> None:
    await asyncio.Event().wait()


async def cannot_be_cancelled() -> None:
    while not STOP:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def cancels_itself() -> None:
    raise asyncio.CancelledError


async def exits() -> None:
    raise SystemExit(3)


async def interrupts() -> None:
    raise KeyboardInterrupt


STOP: list[bool] = []
"""Not empty: `cannot_be_cancelled` lets go, so that the test's loop can end."""
MISBEHAVIOUR = [raises, hangs, cancels_itself, exits, interrupts]


class Recorder(AuditSink):
    """A sink that does as it is told."""

    name = "recorder"

    def __init__(self, settings: BaseModel) -> None:
        super().__init__(settings)
        self.taken: list[str] = []
        self.calls: list[str] = []
        self.writing: Behaviour = works
        self.opening: Behaviour = works
        self.closing: Behaviour = works
        self.wrote = asyncio.Condition()

    async def open(self) -> None:
        self.calls.append("open")
        await self.opening()

    async def write(self, events: Sequence[Event]) -> None:
        self.calls.append("write")
        await self.writing()
        async with self.wrote:
            self.taken += [event.id for event in events]
            self.wrote.notify_all()

    async def close(self) -> None:
        self.calls.append("close")
        await self.closing()

    async def wait(self, count: int) -> list[str]:
        async with asyncio.timeout(30), self.wrote:
            await self.wrote.wait_for(lambda: len(self.taken) >= count)
            return list(self.taken)


class Second(Recorder):
    """Another one."""

    name = "second"


class Desk(ApprovalBackend):
    """A backend that does as it is told."""

    name = "desk"

    def __init__(self, settings: BaseModel) -> None:
        super().__init__(settings)
        self.asked: list[str] = []
        self.withdrawn: list[tuple[str, str]] = []
        self.asking: Behaviour = works
        self.opening: Behaviour = works
        self.withdrawing: Behaviour = works
        self.closed = 0

    async def open(self) -> None:
        await self.opening()

    async def ask(self, question: Question, answers: Answers) -> None:
        await self.asking()
        self.asked.append(question.ticket)

    async def withdraw(self, ticket: str, because: str) -> None:
        self.withdrawn.append((ticket, because))
        await self.withdrawing()

    async def close(self) -> None:
        self.closed += 1


class Phone(Desk):
    """Another one."""

    name = "phone"


class Terminal(Desk):
    """One that is called as the default."""

    name = "terminal"


class Plugin:
    """Offers what a test wants."""

    def __init__(self, *offers: type, store: Any = None) -> None:
        self.offers, self.store = offers, store

    @hookimpl
    def ringfence_audit_sinks(self) -> Sequence[Any]:
        return [offer for offer in self.offers if not issubclass(offer, ApprovalBackend)]

    @hookimpl
    def ringfence_approval_backends(self) -> Sequence[type[ApprovalBackend]]:
        return [offer for offer in self.offers if issubclass(offer, ApprovalBackend)]

    @hookimpl
    def ringfence_open_store(self, url: str) -> Store | None:
        taken: Store | None = self.store(url) if self.store else None
        return taken

    @hookimpl
    def ringfence_store_schemes(self) -> Sequence[str]:
        return ["acme"]


ALL = Plugin(Recorder, Second, Desk, Phone)
FAST: Mapping[str, Any] = {"sink_s": 0.01, "backend_s": 0.01}


class Heard:
    """What the guard is told of failing observers."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int, str]] = []

    def __call__(self, sink: str, lost: int, why: str) -> None:
        self.said.append((sink, lost, why))


def assemble(
    said: Mapping[str, Any], *plugins: object, heard: Heard | None = None, folder: Path | None = None
) -> Extensions:
    return Extensions.assemble(
        Settings.of(said, folder=folder),
        builtins={},
        plugins=plugins or (ALL,),
        on_observer_failure=heard or Heard(),
    )


def wrong(said: Mapping[str, Any], *plugins: object) -> str:
    with pytest.raises(SettingsError) as error:
        assemble(said, *plugins)
    return error.value.diagnostics()


def sink(extensions: Extensions, name: str) -> Recorder:
    made: list[AuditSink] = [found for found, _ in extensions._required]
    made += [observer.sink for observer in extensions._observers]
    (found,) = [one for one in made if one.name == name]
    assert isinstance(found, Recorder)
    return found


def desk(extensions: Extensions, name: str = "desk") -> Desk:
    backend = extensions._backends[name]
    assert isinstance(backend, Desk)
    return backend


def entry(seq: int) -> Entry:
    return Entry("run-1", seq, "CallStarted", 1, 10, 20, b"", b'{"call":"c"}', b"", b"", b"\xab\xcd")


# ---- sinks ---------------------------------------------------------------------------------------


async def test_a_sink_gets_each_event_as_it_stands_in_the_log() -> None:
    extensions = assemble({"sinks": {"recorder": {}}})
    got: list[Event] = []

    async def keep(events: Sequence[Event]) -> None:
        got.extend(events)

    sink(extensions, "recorder").write = keep  # type: ignore[method-assign]
    await extensions.open()
    await extensions.write([entry(1)])
    assert got == [Event("run-1:1", "run-1", 1, "CallStarted", 1, 10, 20, {"call": "c"}, "abcd")]
    await extensions.close()


async def test_a_required_sink_has_the_events_when_write_returns() -> None:
    extensions = assemble({"sinks": {"recorder": {}, "second": {"required": False}}})
    await extensions.open()
    await extensions.write([entry(1), entry(2)])
    assert sink(extensions, "recorder").taken == ["run-1:1", "run-1:2"]
    assert await sink(extensions, "second").wait(2) == ["run-1:1", "run-1:2"]
    await extensions.close()
    assert sink(extensions, "recorder").calls == ["open", "write", "close"]


@pytest.mark.parametrize("behaviour", MISBEHAVIOUR)
async def test_a_required_sink_that_fails_stops_the_call_and_is_named(behaviour: Behaviour) -> None:
    extensions = assemble({"sinks": {"recorder": {}, "second": {"required": False}}, "limits": FAST})
    await extensions.open()
    sink(extensions, "recorder").writing = behaviour
    with pytest.raises(EngineError, match="required sink `recorder` failed"):
        await extensions.write([entry(1)])
    await extensions.close()
    assert sink(extensions, "second").taken == [], "observers are told only what happened"


async def test_a_required_sink_that_swallows_its_cancellation_cannot_hold_the_call() -> None:
    STOP.clear()
    extensions = assemble({"sinks": {"recorder": {}}, "limits": FAST})
    await extensions.open()
    sink(extensions, "recorder").writing = cannot_be_cancelled
    with pytest.raises(EngineError, match=r"no answer within 0\.01 s"):
        await extensions.write([entry(1)])
    with pytest.raises(EngineError, match="an earlier write has not ended"):
        await extensions.write([entry(2)])
    assert sink(extensions, "recorder").calls.count("write") == 1, "writes of one sink never overlap"
    await extensions.close()
    STOP.append(True)


@pytest.mark.parametrize("behaviour", MISBEHAVIOUR)
async def test_an_observer_that_fails_is_counted_and_reported_and_the_call_goes_on(
    behaviour: Behaviour,
) -> None:
    heard = Heard()
    said = {"sinks": {"recorder": {"required": False}, "second": {"required": False}}, "limits": FAST}
    extensions = assemble(said, heard=heard)
    await extensions.open()
    sink(extensions, "recorder").writing = behaviour
    await extensions.write([entry(1), entry(2)])
    assert await sink(extensions, "second").wait(2) == ["run-1:1", "run-1:2"]
    await extensions.close()
    assert extensions.observer_losses == {"recorder": 2, "second": 0}
    assert [(name, lost) for name, lost, _ in heard.said] == [("recorder", 2)]


async def test_a_row_of_failures_is_reported_once_and_again_after_a_success() -> None:
    heard = Heard()
    extensions = assemble({"sinks": {"recorder": {"required": False}}}, heard=heard)
    observed = sink(extensions, "recorder")
    for behaviour in (raises, raises, works, raises):
        observed.writing = behaviour
        await extensions.write([entry(1)])
        await extensions._observers[0]._idle.wait()
    assert [lost for _, lost, _ in heard.said] == [1, 3]
    assert extensions.observer_losses == {"recorder": 3}
    await extensions.close()


async def test_a_hanging_observer_blocks_nobody_and_loses_what_does_not_fit() -> None:
    heard = Heard()
    said = {
        "sinks": {"recorder": {"required": False, "timeout_s": 1000}},
        "limits": {"observer_events": 3},
    }
    extensions = assemble(said, heard=heard)
    await extensions.open()
    sink(extensions, "recorder").writing = hangs
    for seq in range(1, 11):
        await extensions.write([entry(seq)])
    assert extensions.observer_losses == {"recorder": 7}
    assert heard.said == [("recorder", 1, "it is behind by 3 events")]
    for observer in extensions._observers:
        observer._seconds = 0.01
    await extensions.close()
    assert extensions.observer_losses == {"recorder": 10}


async def test_an_observer_that_cannot_be_opened_is_tried_again_at_the_next_batch() -> None:
    extensions = assemble({"sinks": {"recorder": {"required": False}}})
    observed = sink(extensions, "recorder")
    observed.opening = raises
    await extensions.open()
    await extensions.write([entry(1)])
    await extensions._observers[0]._idle.wait()
    observed.opening = works
    await extensions.write([entry(2)])
    assert await observed.wait(1) == ["run-1:2"]
    await extensions.close()
    assert observed.calls == ["open", "open", "write", "close"]


async def test_what_an_observer_has_queued_is_delivered_before_the_end() -> None:
    extensions = assemble({"sinks": {"recorder": {"required": False}}})
    for seq in range(1, 1201):
        await extensions.write([entry(seq)])
    await extensions.close()
    assert sink(extensions, "recorder").taken == [f"run-1:{seq}" for seq in range(1, 1201)]


async def test_without_sinks_there_is_nothing_to_write() -> None:
    extensions = assemble({})
    assert not extensions.wants_events
    await extensions.write([entry(1)])
    await extensions.close()


async def test_being_cancelled_is_not_taken_for_an_answer() -> None:
    extensions = assemble({"sinks": {"recorder": {}}})
    await extensions.open()
    recorder, started, ended = sink(extensions, "recorder"), asyncio.Event(), asyncio.Event()

    async def waits() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    recorder.writing = waits
    writing = asyncio.create_task(extensions.write([entry(1)]))
    await started.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await ended.wait()
    assert recorder.taken == []
    await extensions.close()


# ---- opening and closing -------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", MISBEHAVIOUR)
async def test_a_required_sink_that_cannot_be_opened_stops_the_start(behaviour: Behaviour) -> None:
    extensions = assemble({"sinks": {"second": {}, "recorder": {}}, "limits": FAST})
    sink(extensions, "recorder").opening = behaviour
    with pytest.raises(EngineError, match="required sink `recorder` cannot be opened"):
        await extensions.open()
    assert sink(extensions, "second").calls == ["open", "close"], "what was opened is closed again"


async def test_a_backend_that_cannot_be_opened_stops_the_start() -> None:
    extensions = assemble({"approvals": {"default": "desk"}})
    desk(extensions).opening = raises
    with pytest.raises(
        EngineError, match="approval backend `desk` cannot be opened: RuntimeError: out of order"
    ):
        await extensions.open()


@pytest.mark.parametrize("behaviour", MISBEHAVIOUR)
async def test_closing_goes_on_whatever_one_extension_does(behaviour: Behaviour) -> None:
    said = {"sinks": {"recorder": {}, "second": {}}, "approvals": {"default": "desk"}, "limits": FAST}
    heard = Heard()
    extensions = assemble(said, heard=heard)
    await extensions.open()
    sink(extensions, "recorder").closing = behaviour
    await extensions.close()
    await extensions.close()
    assert sink(extensions, "second").calls == ["open", "close"] and desk(extensions).closed == 1
    assert [name for name, _, _ in heard.said] == ["recorder"]


# ---- approval backends ---------------------------------------------------------------------------


async def test_a_question_goes_to_the_backends_of_its_group_or_to_the_default() -> None:
    said = {
        "groups": {"leads": ["dana"], "others": ["erin"]},
        "approvals": {"default": "desk", "leads": ["phone"]},
    }
    extensions = assemble(said)
    await extensions.open()
    answers = FakeAnswers()
    await extensions.ask(question("T-1", group="leads"), answers)
    await extensions.ask(question("T-2", group="others"), answers)
    await extensions.ask(question("T-3", group=None), answers)
    assert (desk(extensions, "phone").asked, desk(extensions).asked) == (["T-1"], ["T-2", "T-3"])
    await extensions.close()


@pytest.mark.parametrize("behaviour", MISBEHAVIOUR)
async def test_a_question_that_cannot_be_asked_everywhere_denies_and_is_withdrawn(
    behaviour: Behaviour,
) -> None:
    extensions = assemble({"approvals": {"default": ["phone", "desk"]}, "limits": FAST})
    await extensions.open()
    desk(extensions).asking = behaviour
    with pytest.raises(EngineError, match="approval backend `desk` could not ask"):
        await extensions.ask(question("T-1"), FakeAnswers())
    assert [ticket for ticket, _ in desk(extensions, "phone").withdrawn] == ["T-1"]
    await extensions.close()


@pytest.mark.parametrize("behaviour", MISBEHAVIOUR)
async def test_a_withdrawal_reaches_every_backend_whatever_one_of_them_does(behaviour: Behaviour) -> None:
    heard = Heard()
    extensions = assemble({"approvals": {"default": ["phone", "desk"]}, "limits": FAST}, heard=heard)
    await extensions.open()
    desk(extensions, "phone").withdrawing = behaviour
    await extensions.withdraw("T-1", "it has expired")
    assert desk(extensions).withdrawn == [("T-1", "it has expired")]
    assert [name for name, _, _ in heard.said] == ["phone"]
    await extensions.close()


async def test_where_nobody_is_named_the_terminal_is_asked_if_there_is_one() -> None:
    extensions = assemble({}, Plugin(Terminal))
    await extensions.ask(question("T-1"), FakeAnswers())
    assert desk(extensions, "terminal").asked == ["T-1"]
    await assemble({}).ask(question("T-1"), FakeAnswers())  # nobody is asked: the command line answers


# ---- stores --------------------------------------------------------------------------------------


class AStore:
    """Enough of a store to be told apart."""

    def __init__(self, url: str) -> None:
        self.url = url


def of_acme(url: str) -> AStore | None:
    return AStore(url) if url.startswith("acme:") else None


def test_the_plugin_that_takes_the_url_opens_the_store() -> None:
    extensions = assemble({"store": "acme://host"}, Plugin(store=of_acme))
    assert extensions.open_store().url == "acme://host"
    assert extensions.open_store("acme://other").url == "acme://other"


def test_a_path_in_the_place_of_a_url_is_told_what_its_url_would_be() -> None:
    with pytest.raises(SettingsError, match=r"`/home/ann/r\.db` is a path, and no URL") as error:
        assemble({}).open_store("/home/ann/r.db")
    assert "a file is `sqlite:////home/ann/r.db`" in error.value.diagnostics()


def test_a_url_that_nobody_takes_lists_the_schemes_and_not_the_password() -> None:
    with pytest.raises(SettingsError) as error:
        assemble({}).open_store("amce://user:hunter2@host")
    said = error.value.diagnostics()
    assert "no plugin takes the store URL `amce:...`" in said and "did you mean `acme`?" in said
    assert "hunter2" not in said
    with pytest.raises(SettingsError, match="`redis:") as other:
        assemble({}).open_store("redis://host")
    assert other.value.help == "known: `acme:`"


def test_two_plugins_that_take_one_url_are_an_error() -> None:
    class Other(Plugin):
        """Takes everything."""

    with pytest.raises(SettingsError, match="`Plugin` and `Other` both take `acme:`"):
        assemble({}, Plugin(store=of_acme), Other(store=AStore)).open_store("acme://host")


def test_a_store_plugin_that_fails_is_named() -> None:
    def fails(url: str) -> None:
        raise RuntimeError("out of order")

    with pytest.raises(
        EngineError, match="the plugin `Plugin` cannot open the store: RuntimeError: out of order"
    ):
        assemble({}, Plugin(store=fails)).open_store("acme://host")


# ---- what the settings choose --------------------------------------------------------------------


class Siem(AuditSink):
    """A sink with settings."""

    name = "siem"

    class Settings(BaseModel):
        """Its settings."""

        url: str
        token: SecretStr
        file: SettingsPath | None = None
        size: int = 1

        @field_validator("token")
        @classmethod
        def _long_enough(cls, value: SecretStr) -> SecretStr:
            if len(value.get_secret_value()) < 8:
                raise ValueError(f"{value.get_secret_value()} is too short")
            return value

    settings: Settings

    async def write(self, events: Sequence[Event]) -> None: ...


def test_the_settings_of_a_sink_are_checked_and_its_paths_start_at_the_file(tmp_path: Path) -> None:
    said = {"sinks": {"siem": {"url": "https://x.example", "token": "long enough", "file": "a/b"}}}
    extensions = assemble(said, Plugin(Siem), folder=tmp_path)
    ((made, seconds),) = extensions._required
    assert isinstance(made, Siem) and seconds == 10.0
    assert made.settings.file == tmp_path / "a/b"
    assert "long enough" not in f"{made.settings!r} {made!r}"


def test_mistakes_in_the_settings_of_a_sink_are_said_together_and_without_secrets() -> None:
    said = {"sinks": {"siem": {"tokn": "x", "token": "hunter2", "size": "hunter3"}}}
    message = wrong(said, Plugin(Siem))
    for words in (
        "`sinks.siem.tokn`: unknown key (did you mean `token`?)",
        "`sinks.siem.url`: is missing",
        "`sinks.siem.token`: is not acceptable",
        "`sinks.siem.size`: must be a whole number",
    ):
        assert words in message
    assert "hunter" not in message


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"sinks": {"recordr": {}}}, "there is no sink `recordr`\n  help: did you mean `recorder`?"),
        ({"approvals": {"default": "dsk"}}, "`approvals.default`: there is no approval backend `dsk`"),
        ({"backends": {"dsk": {}}}, "`backends.dsk`: there is no approval backend `dsk`"),
        ({"sinks": {"recorder": {"x": 1}}}, "`sinks.recorder.x`: unknown key"),
        (
            {"approvals": {"default": "desk"}, "backends": {"desk": {"x": 1}}},
            "`backends.desk.x`: unknown key",
        ),
    ],
)
def test_a_name_that_no_plugin_brings_is_an_error(said: Mapping[str, Any], words: str) -> None:
    assert words in wrong(said)


def test_two_plugins_with_a_sink_of_one_name_are_an_error() -> None:
    class Other(Plugin):
        """Brings the same."""

    assert "`recorder` is brought by another plugin too" in wrong({}, Plugin(Recorder), Other(Recorder))


def test_an_offer_that_is_no_sink_is_an_error() -> None:
    assert "must return classes made from AuditSink" in wrong({}, Plugin(int))


def test_a_sink_without_a_name_or_with_ringfences_own_keys_is_an_error() -> None:
    class Nameless(AuditSink):
        """Has no name."""

        async def write(self, events: Sequence[Event]) -> None: ...

    class Greedy(Nameless):
        """Wants `required` for itself."""

        name = "greedy"

        class Settings(BaseModel):
            """Its settings."""

            required: bool

    assert "Nameless has no `name`" in wrong({}, Plugin(Nameless))
    assert "its Settings use `required`" in wrong({}, Plugin(Greedy))


def test_a_hook_that_fails_is_an_error_that_names_the_plugin() -> None:
    class Broken:
        @hookimpl
        def ringfence_audit_sinks(self) -> Sequence[type[AuditSink]]:
            raise RuntimeError("out of order")

    assert "plugin `Broken`: `ringfence_audit_sinks` failed: RuntimeError: out of order" in wrong(
        {}, Broken()
    )


def test_a_sink_that_cannot_be_made_is_an_error_that_does_not_quote_it() -> None:
    class Leaky(Siem):
        """Quotes its token."""

        def __init__(self, settings: Siem.Settings) -> None:
            raise RuntimeError(settings.token.get_secret_value())

    message = wrong({"sinks": {"siem": {"url": "u", "token": "hunter2hunter2"}}}, Plugin(Leaky))
    assert "Leaky cannot be made: RuntimeError" in message and "hunter2" not in message
