"""What a tool may do, guessed from its words; a guess may raise the danger and never lowers it.

Words are whoever wrote the tool's: of a server's tool they prove nothing.  So what nothing speaks of is taken
for the worst, and only a tool of the host's own code may be open, if nothing about it speaks of harm.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ringfence.cli.scaffold.words import words_of
from ringfence.dsl.live import LiveTool


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


CAPABILITIES: Mapping[str, tuple[str, ...]] = {
    "read_data": ("read",),
    "change_data": ("write",),
    "reach_out": ("external",),
    "destroy": ("destructive",),
    "run_code": ("code",),
    "move_money": ("money",),
    "unknown_effect": ("write", "external", "destructive"),
}
"""Capability -> its traits; the last is of tools whose words say nothing."""
UNKNOWN = "unknown_effect"

_READING = _set(
    "read get list find search look lookup show view describe count check status info stat "
    "cat head tail grep diff calculate compute compare explain summarize summarise "
    "retrieve peek validate measure"
)
_DOING: Mapping[str, frozenset[str]] = {
    "destroy": _set(
        "delete del drop remove rm destroy purge wipe erase truncate kill terminate uninstall "
        "reset revoke cancel unlink clear disable overwrite format shutdown stop close reject "
        "ban expire prune discard"
    ),
    "run_code": _set(
        "run exec execute eval evaluate shell bash python javascript js sql spawn invoke "
        "interpreter repl terminal sandbox compile script deploy"
    ),
    "move_money": _set(
        "pay payment transfer refund charge purchase buy sell trade withdraw deposit "
        "checkout bill billing invoice donate wire payout"
    ),
    "reach_out": _set(
        "send mail email post publish tweet message notify sms call webhook upload share "
        "invite http fetch browse crawl scrape navigate visit submit reply forward request "
        "comment announce download web slack sync"
    ),
    "change_data": _set(
        "write create update edit modify set change add insert save put patch move rename copy "
        "append store assign upsert merge push commit import mkdir tag approve enable register "
        "subscribe schedule book grant start apply make replace"
    ),
}
_TAKING: Mapping[str, frozenset[str]] = {
    "destroy": _set("force overwrite recursive"),
    "run_code": _set("code script command cmd sql shell expression program statement"),
    "move_money": _set("amount price currency iban card payment"),
    "reach_out": _set("url uri urls webhook recipient recipients to cc bcc phone"),
}
"""Words of parameters."""
_MOSTLY_NOUNS = _set(
    "set change call message mail email format script comment tag stop close clear schedule book start make"
    " request post web sql bill charge share import copy store assign apply reset shell python javascript sms"
    " http"
)
"""In a description these say nothing: `the set of open calls`."""
_REACHING = _set(
    "path paths file files filename filepath dir directory folder key bucket table "
    "database query sql host pattern selector id ids account user"
)
"""Words of parameters that choose what is read: to read anything is not harmless."""
_HINTS: Mapping[str, tuple[bool, str]] = {
    "destructiveHint": (True, "destroy"),
    "openWorldHint": (True, "reach_out"),
    "readOnlyHint": (False, "change_data"),
}
"""Hints that speak against a tool: value -> capability.  What speaks for it is not looked at."""
_DESCRIBED = 20_000
_LONG = 5


@dataclass(frozen=True, slots=True)
class Guess:
    """What a tool may do, and whether the first policy opens it."""

    needs: tuple[str, ...]
    opens: bool
    because: str
    """Why it is open, or closed."""

    @property
    def traits(self) -> frozenset[str]:
        """The traits of all that it needs."""
        return frozenset(trait for name in self.needs for trait in CAPABILITIES[name])


def guess(tool: LiveTool, parameters: Iterable[str]) -> Guess:
    """Guess what a tool may do."""
    named = words_of(tool.name)
    taken = {word for name in parameters for word in words_of(name)}
    described = _described(tool.description)
    harms: dict[str, str] = {}
    for need, words in _DOING.items():
        if found := _first(words, named) or _hidden(words, named):
            harms.setdefault(need, f"its name says `{found}`")
        elif found := _first(_TAKING.get(need, frozenset()), sorted(taken)):
            harms.setdefault(need, f"it takes a `{found}`")
        elif found := _first(words - _MOSTLY_NOUNS, sorted(described)):
            harms.setdefault(need, f"its description says `{found}`")
    if len(tool.description) > _DESCRIBED:
        harms.setdefault(UNKNOWN, "its description is too long to be read")
    for hint, (value, need) in _HINTS.items():
        if tool.annotations.get(hint) is value:
            harms.setdefault(need, f"`{hint}` is {str(value).lower()}")
    reads = bool(named) and _stem(named[0], _READING) is not None
    if not harms and not reads:
        return Guess((UNKNOWN,), False, "nothing says that it only reads, so it may do anything")
    needs = tuple(need for need in CAPABILITIES if need in harms or (need == "read_data" and reads))
    if harms:
        worst = next(need for need in (*_DOING, UNKNOWN) if need in harms)
        return Guess(needs, False, harms[worst])
    if not tool.own:
        return Guess(needs, False, f"its name says `{named[0]}`, but that is somebody else's word")
    if chosen := _first(_REACHING, sorted(taken)):
        return Guess(needs, False, f"it reads, and a `{chosen}` of the model's choice says what")
    return Guess(needs, True, f"it is your own code, and its name says `{named[0]}`")


def _described(text: str) -> set[str]:
    return {word for part in text[:_DESCRIBED].split() for word in words_of(part)}


def _first(words: frozenset[str], among: Iterable[str]) -> str | None:
    return next((one for one in among if _stem(one, words) is not None), None)


def _hidden(words: frozenset[str], named: list[str]) -> str | None:
    """Return a long word that stands inside another: `deleteall`."""
    return next((word for one in named for word in sorted(words) if len(word) >= _LONG and word in one), None)


def _stem(word: str, words: frozenset[str]) -> str | None:
    """Return the word that another is a form of: `deletes`, `deleting` and `deleted` are of `delete`."""
    for ending in ("", "s", "es", "d", "ed", "ing"):
        stem = word.removesuffix(ending) if ending else word
        for one in (stem, f"{stem}e"):
            if (one == stem or ending == "ing") and one in words and (not ending or word.endswith(ending)):
                return one
    return None
