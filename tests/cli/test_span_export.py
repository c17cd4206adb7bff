"""`ringfence export --otel`: the spans of a log at a collector, and what is said if it will not have them."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfence.__main__ import main
from ringfence.engine.decision import events as e
from ringfence.engine.seams.ports import Entry
from ringfence.plugins.export_otel import otlp
from tests.cli.conftest import START_NS, decided, entries, reason, requested, started
from tests.cli.test_export import write
from tests.collector import Collector, collecting

SINCE = "2026-11-18T11:06:40.010Z"
"""Ten milliseconds after `START_NS`."""


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as one:
        yield one


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_run: list[e.RunEvent]) -> Path:
    """Three runs, one of them inside of a call of another, and one that goes on."""
    outer: list[e.RunEvent] = [
        started(agent="outer"),
        requested("dd.0", "delegate", {}),
        decided("dd.0", "allow", reason("delegate.allow", "allow")),
        e.CallStarted("dd.0"),
        e.SubrunStarted("R-IN", "dd.0"),
        e.CallFinished("dd.0", None, None, 1),
    ]
    inner: list[e.RunEvent] = [started(agent="inner", parent="R-OUT"), e.RunEnded("done", None)]
    monkeypatch.chdir(tmp_path)
    first, second = entries("R-OUT", outer), entries("R-IN", inner)
    batches: list[list[Entry]] = [entries("R-WHOLE", whole_run), first[:4], second[:1], first[4:5]]
    asyncio.run(write(tmp_path / "ringfence.db", *batches, second[1:], first[5:]))
    return tmp_path / "ringfence.db"


def names(collector: Collector) -> list[str]:
    return sorted(one.name for one in collector.taken)


def test_all_spans_are_sent_and_counted(
    log: Path, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--otel", collector.url]) == 0
    said = capsys.readouterr()
    assert said.out == f"7 spans sent to {collector.url}/v1/traces\n"
    assert said.err == "1 run has not ended: its span comes with a later export\n"
    assert len(collector.spans) == len(collector.taken) == 7
    assert collector.named("invoke_agent inner").parent == collector.named("execute_tool delegate").id


def test_the_numbers_come_as_data(
    log: Path, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--otel", f"{collector.url}/v1/traces/", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {"spans": 7, "open_runs": 1, "endpoint": f"{collector.url}/v1/traces"}


def test_filters_choose_runs_and_a_sub_run_alone_keeps_its_place(log: Path, collector: Collector) -> None:
    assert main(["export", "--otel", collector.url]) == 0
    whole = collector.spans
    collector.taken.clear()
    assert main(["export", "--otel", collector.url, "--agent", "inner"]) == 0
    assert main(["export", "--otel", collector.url, "--run", "R-IN"]) == 0
    assert names(collector) == ["invoke_agent inner"] * 2
    assert {one.span.SerializeToString() for one in collector.taken} == {
        whole[collector.taken[0].id].span.SerializeToString()
    }


def test_since_leaves_out_the_spans_that_ended_before_and_none_of_the_others(
    log: Path, collector: Collector
) -> None:
    assert main(["export", "--otel", collector.url, "--run", "R-WHOLE"]) == 0
    ended = {one.id for one in collector.taken if one.span.end_time_unix_nano >= START_NS + 10_000_000}
    assert 0 < len(ended) < len(collector.taken)
    collector.taken.clear()
    assert main(["export", "--otel", collector.url, "--run", "R-WHOLE", "--since", SINCE]) == 0
    assert set(collector.spans) == ended


def test_nobody_at_the_address_is_said_at_once_and_how_to_mend_it(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with collecting() as gone:
        pass
    assert main(["export", "--otel", gone.url]) == 1
    said = capsys.readouterr().err
    assert f"the collector at {gone.url}/v1/traces cannot be reached" in said and "is it running" in said


@pytest.mark.parametrize(
    ("status", "help"),
    [(401, "OTEL_EXPORTER_OTLP_HEADERS"), (404, ":4318"), (302, ":4318"), (413, "own log"), (500, "later")],
)
def test_a_refusal_is_said_with_its_status_and_how_to_mend_it(
    log: Path, collector: Collector, status: int, help: str, capsys: pytest.CaptureFixture[str]
) -> None:
    collector.status = status
    assert main(["export", "--otel", collector.url]) == 1
    said = capsys.readouterr().err
    assert f"has refused the spans with status {status}" in said and help in said
    assert len(said.splitlines()) <= 2, "nothing but our own words"


def test_spans_that_a_collector_takes_note_of_and_drops_are_said(
    log: Path, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    collector.rejects = 3
    assert main(["export", "--otel", collector.url]) == 1
    assert "the collector has refused 3 of 7 spans" in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(otlp, "_LIBRARY", ("opentelemetry_that_is_not_there",))
    assert main(["export", "--otel", "http://127.0.0.1:1"]) == 1
    assert 'pip install "ringfence[otel]"' in capsys.readouterr().err


@pytest.mark.parametrize("url", ["localhost:4318", "http://me:geheim@h", "ftp://h", "http://h/?k=geheim", ""])
def test_what_is_no_address_is_refused_unquoted(
    log: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--otel", url]) == 1
    said = capsys.readouterr().err
    assert "spans cannot be sent: must" in said and "geheim" not in said


def test_content_is_sent_on_demand_alone(
    log: Path, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--otel", collector.url]) == 0
    assert b"Mail bob" not in collector.sent and b"evil.example" not in collector.sent
    assert main(["export", "--otel", collector.url, "--content"]) == 0
    assert b"Mail bob" in collector.sent and b"evil.example" in collector.sent
    capsys.readouterr()
    assert main(["export", "--content"]) == 1
    assert "--content belongs to --otel" in capsys.readouterr().err


def test_headers_of_the_sink_go_to_its_own_collector_alone(
    log: Path, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    with collecting() as other:
        Path("ringfence.toml").write_text(
            f'[sinks.export_otel]\nendpoint = "{collector.url}"\n'
            'headers = "x-key=geheim"\nservice_name = "desk"\n'
        )
        assert main(["export", "--otel", collector.url]) == 0
        assert main(["export", "--otel", other.url]) == 0
        assert collector.requests[0][0]["x-key"] == "geheim"
        assert "x-key" not in other.requests[0][0] and b"geheim" not in other.sent
    assert collector.taken[0].resource["service.name"] == "desk"
    said = capsys.readouterr()
    assert "geheim" not in said.out + said.err


def test_the_service_is_named_by_the_environment(
    log: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "desk")
    assert main(["export", "--otel", collector.url]) == 0
    assert {one.resource["service.name"] for one in collector.taken} == {"desk"}
