"""A run in which every field of every kind of event was written by somebody who knows HTML."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ringfence.dsl.plan import Json
from ringfence.engine.decision import events as e
from ringfence.engine.seams.loop import EngineLoop
from ringfence.plugins.sqlite import SqliteStore
from tests.cli.conftest import entries, started

EVIL = (
    "\"><script>hit()</script><img src=x onerror=hit()>' onload=hit() x='"
    "</style><style>body{display:none}</style>"
    "</title></pre></details></svg><svg onload=hit()>"
    "<a href=javascript:hit()>a</a>{{ 7 * 7 }}{% raw %}"
    "<!-- <![CDATA[ --!> &lt;script&gt; \\u003cscript \x00\x08\x1b]0;x\x07 "
    "\u202eevil\u2066\u2069 \u2028\ufeff"
    "\u200b\U000e0041 <base href=//x.example>"
    "<meta http-equiv=refresh content=0;url=//x.example>"
    "<iframe srcdoc='<script>parent.hit()</script>'></iframe>"
    "<details open ontoggle=hit()>`${hit()}`\r\nforged"
)
POLICY = f"language 1\npolicy p\ntool t {{\n  allow always  # {EVIL.splitlines()[0][:70]}\n}}\n"
FILE = f"{EVIL}/p.fence"


def deep(depth: int) -> Json:
    value: Json = EVIL
    for _ in range(depth):
        value = {"d": [value]}
    return value


HUGE: Json = {EVIL: EVIL, "deep": deep(120), "long": EVIL + "x" * 1_000_000, "many": [EVIL] * 5_000}
REASON = {"name": EVIL, "effect": EVIL, "place": f"{FILE}:4:3", "because": EVIL, "detail": EVIL}
MESSAGE = {
    "type": EVIL,
    "data": {"type": EVIL, "content": EVIL, "tool_calls": [{"name": EVIL, "args": HUGE}]},
}
_SAID: dict[str, Json] = {
    "policy_text": POLICY,
    "policy_file": FILE,
    "files": ({"role": "use", "name": EVIL, "text": EVIL},),
    "continues": (),
    "reasons": [REASON, {**REASON, "effect": "deny"}, {**REASON, "effect": "allow", "place": EVIL}],
    "shadow": [REASON],
    "charges": [{"budget": EVIL, "key": EVIL, "amount": EVIL}],
    "messages": [MESSAGE, {EVIL: EVIL}, EVIL, {"role": EVIL, "content": [{"text": EVIL}]}],
    "tools": [{"name": EVIL}, EVIL],
    "usage": {"input_tokens": EVIL, "output_tokens": 5, EVIL: EVIL},
    "answers": [[{"result": EVIL}]],
    "expires_ns": 5,
    "redacted": (),
}
_FACTS = {
    "reserved": [{"budget": EVIL}],
    "approved_by": {EVIL: [EVIL]},
    "failed": EVIL,
    "answers": {EVIL: EVIL},
}
_OF_TYPE: dict[object, Json] = {
    str: EVIL, str | None: EVIL, int: 5, int | None: 5, bool: True, Any: HUGE,
    tuple[str, ...]: (EVIL,), tuple[str, ...] | None: (EVIL,),
    Mapping[str, Json]: {EVIL: EVIL}, Mapping[str, Json] | None: {EVIL: EVIL},
}  # fmt: skip


def hostile(kind: str, **said: Json) -> e.RunEvent:
    """Return an event of this kind with something evil in each of its fields."""
    made: dict[str, Any] = {"facts": _FACTS, **_SAID, **said}
    values = {
        one.name: made[one.name] if one.name in made else _OF_TYPE[one.type] for one in fields(e.KINDS[kind])
    }
    return e.KINDS[kind](**values)


def every_kind() -> list[e.RunEvent]:
    """Return one event and more of every kind, in an order in which each is drawn."""
    order = [kind for kind in e.KINDS if kind not in ("RunEnded", "RunStarted")]
    run = [hostile("RunStarted"), *(hostile(kind) for kind in order)]
    for verdict in ("deny", "ask", "unknown", "allow"):
        call = f"{verdict}{EVIL}"
        run += [
            hostile(
                "CallRequested", call=call, withheld="redacted", arguments={"$keyed": EVIL, "$redacted": HUGE}
            ),
            hostile("CallDecided", call=call, verdict=verdict, arguments=None),
            hostile("CallStarted", call=call),
            hostile("CallFailed", call=call, outcome="raised"),
        ]
    run += [hostile("ModelAsked", request=EVIL * 2), hostile("ModelAnswered", request=EVIL * 3, error=None)]
    return [*run, hostile("RunEnded")]


def written(file: Path) -> Path:
    """Write the run, and one inside of it that it names."""
    loop, store = EngineLoop(), SqliteStore(f"sqlite:///{file}")

    async def write() -> None:
        await store.open()
        assert store.events is not None
        await store.events.append(entries("r1" + EVIL, every_kind()))
        await store.events.append(
            entries(EVIL, [started(agent=EVIL, parent="r1" + EVIL), *every_kind()[1:40]])
        )
        await store.close()

    try:
        loop.submit(write()).result()
    finally:
        loop.close()
    return file
