"""A session's memory made by hand: it answers what a test says, and notes what it was asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ringfence.dsl.plan import Json, Origin, Truth

POLICY = """language 1
policy p
levels public < internal < secret
capability look is read
capability send is write
set hosts = ["docs.acme.example", "status.acme.example"]
set people = ["Bob@ACME.example"]
set pages = ["HTTPS://docs.acme.example"]
set codes = [7, 8.5]
set switches = [true]
calendar office = monday to friday 08:00 to 18:00 in "Europe/London"
calendar nights = saturday to monday 00:00 to 06:00 in "Europe/London"
function is_customer(address: email) gives boolean from "acme"
function tier_of(name: text, limit: integer) gives line from "acme"
function team() gives list of email at most 2 from "acme"
function inspect(rows: list of text, extra: record) gives boolean from "acme"
principal has tier: text, team: text optional
agent main { holds look, send }
tool query { needs look takes table: text, limit: integer allow always result is internal }
tool contacts {
  needs look
  takes table: text, kind: text
  allow always
  result is secret when kind == "payments"
  result is internal otherwise
}
tool web { takes url: url allow always }
tool mail {
  needs send
  takes to: list of email, subject: line, body: text, count: integer, note: text optional, one: email,
    url: url, day: date, sure: boolean, extra: record, more: record optional, rows: list of record,
    cc: list of text
  allow when «»
  rate 10 per hour
}
"""


def policy(condition: str, more: str = "") -> str:
    """The policy above with this condition on `mail`, and more declarations at its end."""
    return POLICY.replace("«»", condition) + more


@dataclass(slots=True)
class Remembered:
    """Answers by what is asked; what no test has said is undecided."""

    happened: Truth = None
    count: tuple[int, int | None] = (0, None)
    in_order: Truth = None
    rank: int | None = None
    sources: Mapping[str, Sequence[Json]] = field(default_factory=dict)
    """Kind of source (`user`), tool or `tool.field` -> the values that match it."""
    unknown: frozenset[str] = frozenset()
    """Sources that are undecided where nothing matches."""
    watched: list[tuple[str, int]] = field(default_factory=list)
    asked: list[tuple[Json, Origin]] = field(default_factory=list)

    def after(self, watch: str, *, now_ns: int) -> Truth:
        self.watched.append((watch, now_ns))
        return self.happened

    def counted(self, watch: str, *, now_ns: int) -> tuple[int, int | None]:
        self.watched.append((watch, now_ns))
        return self.count

    def ordered(self, watch: str, value: Json) -> Truth:
        self.watched.append((watch, 0))
        return self.in_order

    def carries(self, rank: int) -> Truth:
        return None if self.rank is None else self.rank >= rank

    def comes_from(self, value: Json, source: Origin) -> Truth:
        self.asked.append((value, source))
        name = ".".join((source.tool, *source.path)) if source.tool else source.kind
        if value in self.sources.get(name, ()):
            return True
        return None if name in self.unknown else False


class Broken:
    """A memory that fails whatever it is asked."""

    def after(self, watch: str, *, now_ns: int) -> Truth:
        raise RuntimeError("broken")

    def counted(self, watch: str, *, now_ns: int) -> tuple[int, int | None]:
        raise RuntimeError("broken")

    def ordered(self, watch: str, value: Json) -> Truth:
        raise RuntimeError("broken")

    def carries(self, rank: int) -> Truth:
        raise RuntimeError("broken")

    def comes_from(self, value: Json, source: Origin) -> Truth:
        raise RuntimeError("broken")
