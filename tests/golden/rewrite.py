"""Write what the front says now into its golden files, for review: `python -m tests.golden.rewrite`."""

import json
from pathlib import Path

from ringfence.dsl.diagnostic import draw
from ringfence.dsl.format import format_text
from ringfence.dsl.parse import parse
from ringfence.dsl.source import Source
from ringfence.engine.decision.events import SCHEMA
from ringfence.engine.journal.schema import schema
from tests.golden.backtest import outline as backtests
from tests.golden.outline import outline
from tests.golden.signatures import outline as signatures

FRONT = Path(__file__).parent / "front"
FORMAT = Path(__file__).parent / "format"
EVENTS = Path(__file__).parent / "events"
POLICIES = Path(__file__).parent.parent / "dsl" / "policies"


def inputs() -> list[Path]:
    """Return every text with a golden file: the specification's policies, and the ones with mistakes."""
    return sorted(POLICIES.glob("*.fence")) + sorted(FRONT.glob("*.fence"))


def golden(path: Path) -> str:
    """Return what the golden file of a text must hold: its tree, and its reports if there are any."""
    document, reports = parse(Source(path.name, path.read_text(encoding="utf-8")))
    return outline(document) + (f"\n{draw(reports)}\n" if reports else "")


def stored(path: Path) -> Path:
    """Return where the golden file of a text is kept."""
    return FRONT / f"{path.stem}.golden"


def layouts() -> list[Path]:
    """Return every text whose layout is kept: the specification's big policy, and what is hard to lay out."""
    return [POLICIES / "support_desk.fence", *sorted(FORMAT.glob("*.fence"))]


def laid_out(path: Path) -> str:
    """Return a text in the one layout."""
    text = format_text(path.read_text(encoding="utf-8"), path.name).text
    assert text is not None
    return text


def signed() -> list[Path]:
    """Return every policy for which is kept what models are told of its tools."""
    return sorted(signatures.HERE.glob("*.fence"))


def event_schema() -> Path:
    """Return where the schema of events of this version is kept; those of earlier versions stay beside it."""
    return EVENTS / f"event_{SCHEMA}.json"


def schema_text() -> str:
    """Return the schema of events as `ringfence schema` prints it."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    for path in inputs():
        stored(path).write_text(golden(path), encoding="utf-8")
    for path in layouts():
        (FORMAT / f"{path.stem}.golden").write_text(laid_out(path), encoding="utf-8")
    for path in signed():
        (signatures.HERE / f"{path.stem}.golden").write_text(signatures.told(path), encoding="utf-8")
    event_schema().write_text(schema_text(), encoding="utf-8")
    for case in backtests.CASES:
        (backtests.HERE / f"{case}.golden").write_text(backtests.told(case), encoding="utf-8")
