"""A whole witness read and checked, and what it says of the events of a log."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ringfence.plugin import Entry
from ringfence.plugins.witness.lines import START, LineError, digest, read

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class WitnessError(ValueError):
    """The witness itself was changed, or is another's."""


@dataclass(slots=True)
class Witness:
    """What was witnessed."""

    lines: int = 0
    at_ns: int | None = None
    """When the last event of the last line was recorded; None: nothing was witnessed."""
    heads: dict[str, dict[int, tuple[str, int]]] = field(default_factory=dict)
    """Run -> number of an event -> its hash, and the line that says so first."""

    def only(self, run: str) -> "Witness":
        """Return what was witnessed of one run."""
        return Witness(self.lines, self.at_ns, {run: self.heads[run]} if run in self.heads else {})

    def seeing(self) -> "Seeing":
        """Return what compares the events of a log with it."""
        return Seeing(self)


class Seeing:
    """Compares the events of a log with a witness, one after another; only what is named is kept."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        self.later = 0
        """How many events were recorded after the last one of their run that was witnessed."""
        self._last = {run: max(seqs) for run, seqs in witness.heads.items()}
        self._there: dict[tuple[str, int], bytes] = {}

    def take(self, entry: Entry) -> None:
        """Take an event; the chain of its run proves what came before it."""
        if type(entry.seq) is not int:
            return  # no witness names it, and its chain does not hold
        self.later += entry.seq > self._last.get(entry.run, 0)
        if entry.seq in self.witness.heads.get(entry.run, ()):
            self._there[entry.run, entry.seq] = entry.hash

    @property
    def fault(self) -> tuple[str, str] | None:
        """Event and reason of the first event that was witnessed and was not taken; None: all were."""
        wrong = [
            (line, run, seq, self._there.get((run, seq)))
            for run, seqs in self.witness.heads.items()
            for seq, (hash, line) in seqs.items()
            if self._there.get((run, seq)) != bytes.fromhex(hash)
        ]
        if not wrong:
            return None
        line, run, seq, found = min(wrong, key=lambda one: one[:3])
        what = "is missing: the log was cut off" if found is None else "is another one: the log was rewritten"
        return f"{run}:{seq}", f"line {line} of the witness names it, and it {what}"


def witness_of(file: Path, key: "Ed25519PublicKey") -> Witness:
    """Read a witness whole.

    A last line without an end is left out: its writer was stopped, and has answered for nothing of it.

    Raises:
        OSError: The file cannot be read.
        WitnessError: A line was not signed by the key's holder, does not follow, or contradicts another.
    """
    found = Witness()
    prev = START
    with file.open("rb") as lines:
        for number, text in enumerate(lines, start=1):
            if not text.endswith(b"\n"):
                break
            try:
                line = read(text, key)
            except LineError as error:  # fails closed
                raise WitnessError(f"line {number} of the witness {error}") from None
            if (line.line, line.prev) != (number, prev):
                raise WitnessError(f"line {number} of the witness does not follow the line before it")
            for run, (seq, hash) in line.heads.items():
                first, _ = found.heads.setdefault(run, {}).setdefault(seq, (hash, number))
                if first != hash:
                    raise WitnessError(
                        f"line {number} of the witness contradicts an earlier one about {run}:{seq}"
                    )
            prev, found.lines, found.at_ns = digest(text), number, line.at_ns
    if found.lines == 0:  # fails closed: an emptied file would vouch for every log
        raise WitnessError("the witness holds no line")
    return found
