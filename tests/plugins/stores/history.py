"""What a ledger must answer, found by looking at everything that ever happened.

Nothing here is added up, swept or forgotten: each question goes through all reservations ever made.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ringfence.engine.decision.calls import Charge, Refusal


@dataclass(slots=True)
class Made:
    """One reservation that was made."""

    name: str
    charges: tuple[Charge, ...]
    lease_end: int | None
    dispatched: int | None = None
    given_back: bool = False

    def leaves(self, charge: Charge) -> int | None:
        """Return when this charge leaves its window; None: that is not known, or never."""
        begins = self.dispatched if self.dispatched is not None else self.lease_end
        return None if begins is None or charge.period_ns is None else begins + charge.period_ns

    def counts(self, charge: Charge, at: int) -> bool:
        """Say whether this charge stands in its window at that moment."""
        leaves = self.leaves(charge)
        return not self.given_back and (leaves is None or leaves > at)

    def stands(self, at: int) -> bool:
        """Say whether it may still be dispatched, or was and counts."""
        counting = [self.counts(charge, at) for charge in self.charges]
        return all(counting) if self.dispatched is None else any(counting)


class History:
    """Everything that ever happened, and what a ledger must answer because of it."""

    def __init__(self) -> None:
        self.made: list[Made] = []
        self.now = 0
        """The largest time seen."""

    def reserve(
        self, name: str, charges: tuple[Charge, ...], lease: int | None, at: int
    ) -> tuple[Refusal, ...]:
        """Make a reservation, or say what has no room."""
        self.now = max(self.now, at)
        before = self._newest(name)
        if before is not None and before.stands(self.now):
            return ()
        if before is not None and before.dispatched is None:
            before.given_back = True
        refused = []
        for position, charge in enumerate(charges):
            together = [c for c in charges[: position + 1] if _window(c) == _window(charge)]
            if self._content(charge, self.now, together) > charge.limit:
                refused.append(Refusal(charge.budget, charge.key, self._free(charge, together)))
        if not refused:
            self.made.append(Made(name, charges, None if lease is None else self.now + lease))
        return tuple(refused)

    def dispatched(self, name: str, at: int) -> bool:
        """Dispatch a reservation, if it stands."""
        self.now = max(self.now, at)
        made = self._newest(name)
        if made is None or not made.stands(self.now):
            return False
        if made.dispatched is None:
            made.dispatched = self.now
        return True

    def refund(self, name: str) -> None:
        """Give a reservation back."""
        made = self._newest(name)
        if made is not None and any(made.counts(charge, self.now) for charge in made.charges):
            made.given_back = True

    def settle(self, run: str, at: int) -> None:
        """Stamp what the run holds."""
        self.now = max(self.now, at)
        for made in self.made:
            held = made.lease_end is None or made.lease_end > self.now
            if made.name.startswith(f"{run}/") and made.dispatched is None and not made.given_back and held:
                made.dispatched = self.now

    def overfull(self) -> Iterator[str]:
        """Say which windows hold too much: now, or of what was dispatched at any time so far."""
        for charge in {_window(c): c for made in self.made for c in made.charges}.values():
            if self._content(charge, self.now) > charge.limit:
                yield f"{charge.budget} of {charge.key!r} now"
            effects = [
                (made.dispatched, c)
                for made in self.made
                for c in made.charges
                if made.dispatched is not None and not made.given_back and _window(c) == _window(charge)
            ]
            for end, _ in effects:
                begin = -1 if charge.period_ns is None else end - charge.period_ns
                if _sum(c for at, c in effects if begin < at <= end) > charge.limit:
                    yield f"{charge.budget} of {charge.key!r}: dispatched up to {end}"

    def _newest(self, name: str) -> Made | None:
        found = [made for made in self.made if made.name == name and not made.given_back]
        return found[-1] if found else None

    def _content(self, charge: Charge, at: int, more: Iterable[Charge] = ()) -> int:
        inside = [
            c
            for made in self.made
            for c in made.charges
            if _window(c) == _window(charge) and made.counts(c, at)
        ]
        return _sum([*inside, *more])

    def _free(self, charge: Charge, together: list[Charge]) -> int | None:
        """Return in how long there is room if nothing else happens; None if there is none ever."""
        moments = {made.leaves(c) for made in self.made for c in made.charges}
        for moment in sorted(m for m in moments if m is not None and m > self.now):
            if self._content(charge, moment, together) <= charge.limit:
                return moment - self.now
        return None


def _window(charge: Charge) -> tuple[str, str]:
    return charge.budget, charge.key


def _sum(charges: Iterable[Charge]) -> int:
    """Return the amount of all charges: of members, how many differ."""
    amounts, members = 0, set[str]()
    for charge in charges:
        if charge.budget.startswith("members"):
            members.update(charge.members)
        else:
            amounts += charge.amount
    return amounts + len(members)
