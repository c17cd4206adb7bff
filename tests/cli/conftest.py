"""A log written by hand: one run with every kind of step in it."""

from collections.abc import Sequence

import pytest

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json
from ringfence.engine.decision import events as e
from ringfence.engine.journal.chain import ZERO, chained
from ringfence.engine.seams.ports import Entry

START_NS = 1_795_000_000_000_000_000
POLICY = """language 1
policy support
tool send_email {
  takes to: email, body: text
  allow when domain(to) == "acme.example"
}
"""


def reason(name: str, effect: str, place: str | None = "support.fence:5:3", **more: str) -> dict[str, Json]:
    return {"name": name, "effect": effect, "place": place, "because": None, "detail": None, **more}


def decided(call: str, verdict: str, *reasons: dict[str, Json], **more: Json) -> e.CallDecided:
    said: dict[str, Json] = {
        "shadow": [], "arguments": None, "digest": "", "charges": [], "asks": (),
        "facts": {"reserved": None, "approved_by": {}, "failed": None},
    }  # fmt: skip
    return e.CallDecided(call=call, verdict=verdict, reasons=list(reasons), **{**said, **more})


def requested(call: str, tool: str, arguments: Json, call_id: str | None = None) -> e.CallRequested:
    return e.CallRequested(call, tool, arguments, call_id, None, None)


def started(**changed: Json) -> e.RunStarted:
    said: dict[str, Json] = {
        "session": "s1", "session_head": None, "agent": "main", "principal": {"user": "alice"},
        "capabilities": (), "policy": "support", "policy_digest": "sha256:0", "policy_text": POLICY,
        "mode": "enforce", "framework": "python", "external_id": None, "resume_of": None, "parent": None,
    }  # fmt: skip
    return e.RunStarted(**{**said, **changed})


def stamped(events: Sequence[e.RunEvent]) -> list[e.Stamped]:
    return [e.Stamped(i + 1, START_NS + i * 1_000_000, event) for i, event in enumerate(events)]


def entries(run: str, events: Sequence[e.RunEvent]) -> list[Entry]:
    made: list[Entry] = []
    for one in stamped(events):
        made.append(
            chained(
                made[-1].hash if made else ZERO,
                run=run, seq=one.seq, kind=one.event.kind, schema=e.SCHEMA, at_ns=one.at_ns,
                mono_ns=one.seq, salt=b"s" * 16, body=canonical(e.body_of(one.event)),
            )
        )  # fmt: skip
    return made


@pytest.fixture
def whole_run() -> list[e.RunEvent]:
    """A prompt, an allowed call, a refused one, one that people approve, one that fails, a halt."""
    asked = reason("crm.ask", "ask")
    return [
        started(),
        e.PromptGiven("user", "Mail bob a summary"),
        e.ModelAnswered(
            "m1", [{"content": "", "tool_calls": [{"name": "send_email"}]}],
            {"input_tokens": 12, "output_tokens": 3}, 7_000_000, None,
        ),
        requested("aa.0", "send_email", {"to": "bob@acme.example", "body": "hi"}, "model-1"),
        decided("aa.0", "allow", reason("send_email.allow", "allow")),
        e.CallStarted("aa.0"),
        e.CallFinished("aa.0", "sent", None, 2_500_000),
        requested("bb.0", "send_email", {"to": "eve@evil.example", "body": "hi"}, "model-2"),
        decided("bb.0", "deny", reason("send_email.allow", "deny", detail="no allow holds")),
        requested("cc.0", "crm", {"field": "note"}),
        decided("cc.0", "ask", asked, asks=("lead",)),
        e.ApprovalAsked("cc.0", "T-AAAAAAAA", "lead", None),
        e.ApprovalAnswered("cc.0", "T-AAAAAAAA", "approve", "dana", None, "fine"),
        decided("cc.0", "allow", asked, reason("crm.allow", "allow")),
        e.CallStarted("cc.0"),
        e.CallFailed("cc.0", "raised", "ValueError: no such account", 1_000_000),
        e.RunHalted("main.stop", None, "5 minutes are over"),
        e.RunEnded("halted", None),
    ]  # fmt: skip
