"""The sink keeps its contract, and what it sends while agents run is what an export sends afterwards."""

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ringfence.__main__ import main
from ringfence.engine.decision import events as e
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import DeniedError, EngineError, PendingError, SettingsError
from ringfence.plugin import Event
from ringfence.plugins.export_otel import OtelSettings, OtelSink, otlp
from ringfence.plugins.export_otel import sink as sink_module
from ringfence.plugins.export_otel.otlp import SendError
from ringfence.testing import DerivingSinkContract
from tests.cli.conftest import decided, entries, reason, requested, started
from tests.collector import Collector, collecting
from tests.guards import ALICE, call, make_guard

FULL = """language 1  policy p  agent main { stop after 5 minutes }
tool t { allow always rate 900 per run audit full }"""


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as one:
        yield one


def run_of(name: str) -> list[Event]:
    """Return a small run whole."""
    events: list[e.RunEvent] = [
        started(),
        requested("aa.0", "send_email", {"to": "bob@acme.example"}),
        decided("aa.0", "allow", reason("send_email.allow", "allow")),
        e.CallStarted("aa.0"),
        e.CallFinished("aa.0", "sent", None, 2_500_000),
        e.RunEnded("done", None),
    ]
    return [Event.of(entry) for entry in entries(name, events)]


class TestOtelSink(DerivingSinkContract):
    """The contract."""

    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        with ExitStack() as self.until:
            self.collector = self.until.enter_context(collecting())
            yield

    def make(self) -> OtelSink:
        return OtelSink(
            OtelSettings.model_validate(
                {"endpoint": self.collector.url, "headers": "authorization=Bearer%20geheim", "within_s": 1}
            )
        )

    def some(self, number: int) -> Sequence[Event]:
        return run_of(f"R-{number}")

    async def arrived(self) -> Sequence[object]:
        return sorted(one.span.SerializeToString(deterministic=True) for one in self.collector.spans.values())

    async def break_down(self) -> None:
        self.until.close()


def guard_with(collector: Collector, folder: Path, **settings: Any) -> Guard:
    sink = {"endpoint": collector.url, "within_s": 30, **settings}
    return make_guard(store=f"sqlite:///{folder / 'ringfence.db'}", sinks={"export_otel": sink})


def wire(collector: Collector) -> list[bytes]:
    return sorted(one.span.SerializeToString(deterministic=True) for one in collector.spans.values())


def busy(guard: Guard) -> None:
    """Make runs with all that the sink tells: refusals, failures, a sub-run, what never started."""

    def fails(arguments: Any) -> Any:
        raise ValueError("no")

    with guard.run(agent="main", principal=ALICE, prompt="do it", session="s-1") as run:
        guard.execute(run, call("look", "m-1", what="x"), dict)
        for tool, arguments in (("look", {"what": "secret"}), ("made_up", {})):
            with pytest.raises(DeniedError):
                guard.execute(run, call(tool, **arguments), dict)
        with pytest.raises(ValueError):
            guard.execute(run, call("look", what="y"), fails)

        def delegates(arguments: Any) -> Any:
            with guard.run(agent="reader", parent=run) as inside:
                return guard.execute(inside, call("look", what="z"), dict)

        guard.execute(run, call("look", what="deep"), delegates)


def test_what_is_sent_while_agents_run_is_what_an_export_sends(collector: Collector, tmp_path: Path) -> None:
    guard = guard_with(collector, tmp_path)
    busy(guard)
    guard.close()
    live = wire(collector)
    assert len(live) == 8, "two runs and six calls"
    collector.taken.clear()
    assert main(["export", "--otel", collector.url, "--store", str(tmp_path / "ringfence.db")]) == 0
    assert wire(collector) == live
    assert main(["export", "--otel", collector.url, "--store", str(tmp_path / "ringfence.db")]) == 0
    assert wire(collector) == live, "twice is once"


def test_a_sub_run_stands_in_the_call_that_started_it_in_one_trace(
    collector: Collector, tmp_path: Path
) -> None:
    guard = guard_with(collector, tmp_path)
    busy(guard)
    guard.close()
    assert len({one.trace for one in collector.taken}) == 1
    inside, root = collector.named("invoke_agent reader"), collector.named("invoke_agent main")
    assert root.parent is None
    within = collector.spans[inside.parent or ""]
    assert within.name == "execute_tool look" and within.parent == root.id
    (look,) = [one for one in collector.taken if one.parent == inside.id]
    assert look.said["gen_ai.agent.name"] == "reader"


def test_a_run_that_goes_on_in_another_process_has_one_span_from_its_beginning(
    collector: Collector, tmp_path: Path
) -> None:
    first = guard_with(collector, tmp_path)
    run = first.begin_run(agent="main", session="s-1")
    first.execute(run, call("look", what="x"), dict)
    asked = call("two", "p-1", amount=500)
    with pytest.raises(PendingError) as pending:
        first.execute(run, asked, dict, wait=False)
    ticket = pending.value.tickets[0]
    first.suspend(run)
    first.close()
    before = len(collector.taken)
    assert [one.name for one in collector.taken] == ["execute_tool look"]

    second = guard_with(collector, tmp_path)
    second.approve(ticket, by="dana")
    second.approve(ticket, by="erik")
    again = second.resume_run(run.id)
    second.execute(again, asked, dict, wait=False)
    second.end_run(again)
    second.close()
    assert [one.name for one in collector.taken[before:]] == ["execute_tool two", "invoke_agent main"]
    root, paid = collector.named("invoke_agent main"), collector.named("execute_tool two")
    assert root.span.start_time_unix_nano < paid.span.start_time_unix_nano
    assert [name for name, _ in root.moments] == ["ringfence.suspended", "ringfence.resumed"]
    assert paid.said["ringfence.tickets"] == [ticket] and paid.said["ringfence.waited_s"] > 0
    live = wire(collector)
    collector.taken.clear()
    assert main(["export", "--otel", collector.url, "--store", str(tmp_path / "ringfence.db")]) == 0
    assert wire(collector) == live


def test_while_the_collector_is_away_nothing_starts_and_nothing_is_lost(
    collector: Collector, tmp_path: Path
) -> None:
    sink = {"endpoint": collector.url, "within_s": 30}
    guard = make_guard(FULL, store=f"sqlite:///{tmp_path / 'ringfence.db'}", sinks={"export_otel": sink})
    run = guard.begin_run(agent="main", session="s-1")
    guard.execute(run, call("t"), dict)
    collector.status = 400
    with pytest.raises(EngineError, match="has refused the spans with status 400"):
        for _ in range(3):  # the first is allowed before a span of it can be refused
            guard.execute(run, call("t"), dict)
    collector.status = 200
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:  # each attempt lets the sink try again
        with contextlib.suppress(EngineError):
            guard.execute(run, call("t"), dict)
            break
    else:
        raise AssertionError("it does not go on")
    guard.end_run(run)
    guard.close()
    live = wire(collector)
    collector.taken.clear()
    assert main(["export", "--otel", collector.url, "--store", str(tmp_path / "ringfence.db")]) == 0
    assert wire(collector) == live


def test_a_collector_that_is_away_holds_up_no_call_where_the_sink_only_observes(
    collector: Collector, tmp_path: Path
) -> None:
    collector.status = 400
    guard = guard_with(collector, tmp_path, required=False)
    run = guard.begin_run(agent="main", session="s-1")
    for number in range(20):
        assert guard.execute(run, call("look", what=f"{number}"), dict) == {"what": f"{number}"}
    collector.status = 200
    guard.end_run(run)
    guard.close()
    assert len(collector.spans) == 21 and collector.named("invoke_agent main").said["ringfence.calls"] == 20


class Log:
    """The log that a sink may read."""

    def __init__(self, *events: Event) -> None:
        self.events = events
        self.asked: list[tuple[str, int, int]] = []

    async def read(self, run: str, *, after_seq: int = 0, limit: int = 250) -> Sequence[Event]:
        self.asked.append((run, after_seq, limit))
        return [one for one in self.events if one.run == run and one.seq > after_seq][:limit]


async def opened(collector: Collector, log: Log | None = None, **settings: Any) -> OtelSink:
    sink = OtelSink(OtelSettings(endpoint=collector.url, within_s=1, **settings))
    sink.past = log
    await sink.open()
    return sink


async def test_what_a_killed_process_had_not_told_is_read_from_the_log(collector: Collector) -> None:
    whole = run_of("R-1")
    sink = await opened(collector, Log(*whole))
    await sink.write(whole[-1:])
    await sink.close()
    assert sorted(one.name for one in collector.taken) == ["execute_tool send_email", "invoke_agent main"]
    told = wire(collector)
    collector.taken.clear()
    seen = await opened(collector)
    await seen.write(whole)
    await seen.close()
    assert wire(collector) == told


async def test_without_a_log_to_read_a_run_that_began_elsewhere_says_that_it_is_incomplete(
    collector: Collector,
) -> None:
    sink = await opened(collector)
    await sink.write(run_of("R-1")[-1:])
    await sink.close()
    (root,) = collector.taken
    assert root.name == "invoke_agent" and root.said["ringfence.incomplete"] is True


async def test_what_waits_is_bounded_and_what_did_not_fit_comes_from_the_log_afterwards(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_module, "WAITING_AT_MOST", 4)
    runs = [run_of(f"R-{number}") for number in range(30)]
    sink = await opened(collector, Log(*(event for run in runs for event in run)))
    collector.status = 400
    for run in runs:
        for batch in (run[:3], run[3:5]):
            with contextlib.suppress(SendError):  # as an observer: what is refused is not offered again
                await sink.write(batch)
            assert len(sink._waiting) <= 6
    collector.status = 200
    for run in runs:
        await sink.write(run[5:])
    await sink.close()
    assert len(collector.spans) == 60


async def test_a_sink_that_is_closed_while_the_collector_is_away_says_what_is_left(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    sink = await opened(collector)
    collector.status = 400
    with pytest.raises(SendError):
        await sink.write(run_of("R-1"))
    with caplog.at_level(logging.WARNING, "ringfence"):
        await sink.close()
    assert "2 spans were not sent" in caplog.text and "ringfence export --otel" in caplog.text


async def test_a_sub_run_whose_parent_was_never_seen_is_put_in_its_place_by_the_log(
    collector: Collector,
) -> None:
    outer: list[e.RunEvent] = [
        started(agent="outer"),
        requested("dd.0", "delegate", {}),
        decided("dd.0", "allow", reason("delegate.allow", "allow")),
        e.CallStarted("dd.0"),
        e.SubrunStarted("R-IN", "dd.0"),
        e.CallFinished("dd.0", None, None, 1),
        e.RunEnded("done", None),
    ]
    inner: list[e.RunEvent] = [started(agent="inner", parent="R-OUT"), e.RunEnded("done", None)]
    around = [Event.of(entry) for entry in entries("R-OUT", outer)]
    inside = [Event.of(entry) for entry in entries("R-IN", inner)]
    sink = await opened(collector, Log(*around))
    await sink.write(inside)
    await sink.write(around)
    await sink.close()
    assert len({one.trace for one in collector.taken}) == 1
    assert collector.named("invoke_agent inner").parent == collector.named("execute_tool delegate").id


def test_a_redirection_is_no_delivery_and_gets_no_headers(collector: Collector, tmp_path: Path) -> None:
    with collecting() as other:
        collector.status, collector.where = 307, f"{other.url}/v1/traces"
        guard = guard_with(collector, tmp_path, headers="x-key=geheim")
        with pytest.raises(EngineError, match="status 307"):
            busy(guard)
        with contextlib.suppress(EngineError):  # it cannot send the last ones either
            guard.close()
        assert other.requests == []


async def test_headers_go_with_each_request_those_of_the_settings_first(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=outer,x-more=1")
    sink = await opened(collector, headers=SecretStr("x-key=in%2Cner,authorization=Bearer%20t"))
    await sink.write(run_of("R-1"))
    await sink.close()
    headers, _ = collector.requests[0]
    assert (headers["x-key"], headers["x-more"], headers["authorization"]) == ("in,ner", "1", "Bearer t")
    assert collector.paths == ["/v1/traces"] and headers["content-type"] == "application/x-protobuf"


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "collector:4318"},
        {"endpoint": "http://me:geheim@127.0.0.1"},
        {"endpoint": "http://127.0.0.1/?key=geheim"},
        {"endpoint": "http://127.0.0.1", "headers": "geheim"},
        {"endpoint": "http://127.0.0.1", "headers": "x-key=geh\neim"},
        {"endpoint": "http://127.0.0.1", "within_s": 0},
        {"endpoint": "http://127.0.0.1", "contents": True},
    ],
)
def test_these_settings_are_refused_in_words_that_quote_no_secret(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        make_guard(sinks={"export_otel": wrong})
    assert "geheim" not in str(caught.value) + caught.value.diagnostics().__str__()


def test_headers_in_the_environment_that_cannot_be_read_are_refused_unquoted(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "geheim")
    with pytest.raises(EngineError, match="OTEL_EXPORTER_OTLP_HEADERS") as caught:
        busy(guard_with(collector, tmp_path))
    assert "geheim" not in str(caught.value) + caplog.text


def test_without_the_extra_the_settings_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "is_installed", lambda: False)
    with pytest.raises(SettingsError) as caught:
        make_guard(sinks={"export_otel": {"endpoint": "http://127.0.0.1:1"}})
    assert 'pip install "ringfence[otel]"' in str(caught.value.diagnostics())
