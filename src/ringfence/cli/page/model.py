"""What a page shows, as plain data: texts are bounded and escaped already, numbers are ours."""

from dataclasses import dataclass

from ringfence.cli.page.texts import Text


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of the run's time."""

    lane: str
    """`model`, `body` or `people`."""
    x: float
    width: float
    """Both in percent of the run's time."""
    took_ns: int
    took: str
    what: str
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Level:
    """What the session carries after a step."""

    name: str
    rank: int | None
    """None: it is not known."""
    raised: str = ""
    """The event in this step that raised it; empty: none did."""
    meter: str = ""
    """How high it is among the policy's levels, drawn with letters."""


@dataclass(frozen=True, slots=True)
class Band:
    """One level in the chart: where the session carried it."""

    name: str
    stretches: tuple[tuple[float, float], ...]
    """x and width, in percent."""
    since: str = ""
    """When it was carried first; empty: it never was."""
    known: bool = True
    """False: here the level cannot be told."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A rule that spoke."""

    effect: str
    tone: str
    name: str
    place: str
    because: str
    detail: str
    line: int | None = None
    """Where the clause begins in its file."""
    clause: str | None = None
    """The rule's own text."""
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision of a call."""

    verdict: str
    tone: str
    offset: str
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...]
    """Charges, refusals of the ledger, who has approved."""
    arguments: Text | None
    """Those that were decided, where they are not the requested ones."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody, or nobody, said to a ticket."""

    said: str
    tone: str
    by: str
    waited: str
    because: str
    edited: Text | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to people."""

    ticket: str
    approver: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a request or of an answer."""

    role: str
    text: Text | None
    wants: tuple[tuple[str, Text], ...] = ()
    """The tool calls in it: name and arguments."""


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the page: a prompt, a model's answer, a call, or something that happened."""

    anchor: str
    kind: str
    """`prompt`, `model`, `call`, `note` or `gap`."""
    tone: str
    """`plain`, `allow`, `ask`, `deny`, `unknown` or `failed`."""
    offset: str
    word: str
    """What it is called: `denied`, `system`, `halted`."""
    title: str
    depth: int = 0
    within: int | None = None
    """The number of the call that this one was made inside of."""
    bars: tuple[Bar, ...] = ()
    level: Level | None = None
    text: Text | None = None
    facts: tuple[tuple[str, str], ...] = ()
    messages: tuple[Message, ...] = ()
    sent: tuple[Message, ...] = ()
    """Of a model: what it was asked with and had not been asked with before."""
    number: int | None = None
    arguments: Text | None = None
    prose: tuple[tuple[str, Text], ...] = ()
    """Arguments that are texts of several lines, as they read."""
    withheld: str = ""
    decisions: tuple[Decision, ...] = ()
    tickets: tuple[Asked, ...] = ()
    walls: tuple[str, ...] = ()
    result: Text | None = None
    outcome: str = ""
    outcome_tone: str = "plain"
    notes: tuple[str, ...] = ()
    link: str = ""
    """The anchor of the run that it began."""


@dataclass(frozen=True, slots=True)
class Section:
    """One run on the page: the one that was asked for, or one inside of it."""

    anchor: str
    run: str
    heading: str
    status: str
    tone: str
    facts: tuple[tuple[str, str], ...]
    chain: str
    intact: bool
    tallies: tuple[tuple[str, str, str], ...]
    """Tone, number and what is counted."""
    ticks: tuple[tuple[float, str], ...]
    lanes: tuple[tuple[str, str, str, tuple[Bar, ...]], ...]
    """Key, name, how long in all, and the stretches, of what takes time."""
    bands: tuple[Band, ...]
    """The levels, highest first; empty: there are none."""
    unlevelled: str
    """Why the level is not known, or not from some event on; or that there are none."""
    levelled: bool
    striking: tuple[tuple[str, str, str], ...]
    """Anchor, tone and text of what a reader looks for first."""
    steps: tuple[Step, ...]
    cut: tuple[str, ...]
    """What is not shown, in sentences."""
    files: tuple[tuple[str, Text], ...] = ()
    """The policy's texts: name and content."""


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page."""

    title: str
    sections: tuple[Section, ...]
    made: str
    cut: tuple[str, ...]
