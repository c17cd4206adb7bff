"""What the runs of a load do: ten calls that are allowed, denied or asked, and what must come of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ringfence.dsl.plan import Json

GROUPS = {"leads": ["dana"]}
PERSON = "dana"
SCARCE = 100
"""So often may `give_away` run, in all processes together."""

POLICY = f"""language 1
policy load
capability read_data is read
capability send is external
approver lead {{ group "leads" answer within 1 hour otherwise deny }}
agent main {{ holds read_data, send  stop after 2 hours }}
tool look_up {{
  needs read_data
  takes table: text
  allow when table in ["users", "orders"]
  rate 10000000 per hour for each user
}}
tool note {{ needs read_data  takes text: text  allow always  rate 10000000 per hour  audit full }}
tool mail {{ needs send  takes to: email  allow always  ask lead  rate 10000000 per hour }}
tool give_away {{ needs send  allow always  rate {SCARCE} per day }}
"""

End = Literal["ran", "denied"]


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a run."""

    name: str
    tool: str
    arguments: Mapping[str, Json]
    ends: frozenset[End]
    answer: Literal["approve", "reject"] | None = None
    """What the person says that is asked; None: nobody is."""


_RAN: frozenset[End] = frozenset({"ran"})
_DENIED: frozenset[End] = frozenset({"denied"})

ALLOWED = Step("allowed", "look_up", {"table": "users"}, _RAN)
AUDITED = Step("allowed, awaited in the log", "note", {"text": "as asked"}, _RAN)
DENIED = Step("denied", "look_up", {"table": "salaries"}, _DENIED)
UNKNOWN = Step("unknown", "no_such_tool", {}, _DENIED)
APPROVED = Step("asked, approved", "mail", {"to": "bob@example.com"}, _RAN, "approve")
REJECTED = Step("asked, rejected", "mail", {"to": "eve@example.com"}, _DENIED, "reject")
RATIONED = Step("rationed", "give_away", {}, _RAN | _DENIED)

STEPS = (ALLOWED, DENIED, ALLOWED, APPROVED, ALLOWED, UNKNOWN, AUDITED, REJECTED, ALLOWED, RATIONED)
"""The calls of one run; each run begins with another of them, so that not all are asked at the same time."""

NAMES = tuple(dict.fromkeys(step.name for step in STEPS))
