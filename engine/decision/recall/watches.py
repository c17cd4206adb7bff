"""One folded memory per watch: counters, flags and last times, never the history itself.

A call that may match a watch is *marked* when it is decided `allow`: from then on it is in flight, which
leaves what asks for it undecided, until it is dropped (never dispatched), has succeeded, or is in doubt
(it failed, or nobody knows whether it matched).  A sub-run folds into a fork of its parent's memory, which is
joined when its result arrives; the order of what parent and sub-run did meanwhile is not known, so
nothing is decided by it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from ringfence.dsl.canonical import digest
from ringfence.dsl.plan import Json, Truth, Watch
from ringfence.engine.decision.recall.moments import Moments

MOST_VALUES = 10_000
"""Values of `same` kept of one order; the one touched longest ago is given up: then it is not ordered."""


class Mark(NamedTuple):
    """One call that may be one step of one watch."""

    step: int
    sure: bool
    """Its `where` was true; False: it could not be decided."""
    value: str | None = None
    """Of an order: the digest of its value of `same`; None: it is not known."""
    follows: bool = True
    """Of an order: the step before it had surely come when it was decided."""


class Memory(Protocol):
    """What is kept of one watch.  Times are those of the events, positions are the fold's own count."""

    def mark(self, step: int, sure: bool, arguments: Mapping[str, Json] | None) -> Mark | None:
        """Note that a call is in flight; None arguments: withheld.  None: it cannot match after all."""
        ...

    def drop(self, mark: Mark) -> None:
        """Note that it is in flight no more."""
        ...

    def succeed(self, mark: Mark, at_ns: int, position: int) -> None:
        """Note a success."""
        ...

    def doubt(self, mark: Mark, at_ns: int, position: int) -> None:
        """Note what may have been one."""
        ...

    def begin_run(self) -> None:
        """Forget what is asked `within this run` only."""
        ...

    def fork(self, *, child: bool) -> "Memory":
        """Return a copy; that of a child can be joined."""
        ...

    def join(self, child: Any, *, forked_at: int, position: int) -> None:
        """Take in what a child, forked at that position, has become since, or since it was joined before."""
        ...


def memory_of(watch: Watch) -> "After | Since | Calls | Order":
    """Return an empty memory for a watch."""
    if watch.kind == "after":
        return After(watch)
    if watch.kind == "since":
        return Since(watch)
    return Calls(watch) if watch.kind == "calls" else Order(watch)


class After:
    """`after E`: whether, and when last, it happened."""

    __slots__ = ("_base", "_doubt_ns", "_doubted", "_flying", "_happened", "_last_ns", "_watch")

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._flying = 0
        self._base = 0
        """How many were in flight at the fork."""
        self._happened = self._doubted = False
        self._last_ns = self._doubt_ns = 0

    def mark(self, step: int, sure: bool, arguments: Mapping[str, Json] | None) -> Mark | None:
        """See `Memory`."""
        self._flying += 1
        return Mark(step, sure)

    def drop(self, mark: Mark) -> None:
        """See `Memory`."""
        self._flying -= 1

    def succeed(self, mark: Mark, at_ns: int, position: int) -> None:
        """See `Memory`."""
        self._happened = True
        self._last_ns = max(self._last_ns, at_ns)

    def doubt(self, mark: Mark, at_ns: int, position: int) -> None:
        """See `Memory`."""
        self._doubted = True
        self._doubt_ns = max(self._doubt_ns, at_ns)

    def truth(self, now_ns: int) -> Truth:
        """Say whether it happened in the extent."""
        if self._happened and _inside(self._watch, self._last_ns, now_ns):
            return True
        if self._flying or (self._doubted and _inside(self._watch, self._doubt_ns, now_ns)):
            return None
        return False

    def begin_run(self) -> None:
        """See `Memory`."""
        if self._watch.in_run:
            self._flying = self._base = 0
            self._happened = self._doubted = False

    def fork(self, *, child: bool) -> "After":
        """See `Memory`."""
        copy = After(self._watch)
        copy._flying = copy._base = self._flying
        copy._happened, copy._doubted = self._happened, self._doubted
        copy._last_ns, copy._doubt_ns = self._last_ns, self._doubt_ns
        return copy

    def join(self, child: "After", *, forked_at: int, position: int) -> None:
        """Take in what the child's fork has become."""
        self._flying += child._flying - child._base
        child._base = child._flying
        self._happened |= child._happened
        self._doubted |= child._doubted
        self._last_ns = max(self._last_ns, child._last_ns)
        self._doubt_ns = max(self._doubt_ns, child._doubt_ns)


class Since:
    """`after E with no F since`: which of the two came last.

    Positions are intervals, from `low` to `high`, since the order of what a joined run did and what was done
    here meanwhile is not known.  True only if some E surely came after every F; false only if none in the
    extent could have.  A call that is both leaves E standing: F must come after it.
    """

    __slots__ = (
        "_bases",
        "_e_any_high",
        "_e_any_ns",
        "_e_low",
        "_e_ns",
        "_f_any_high",
        "_f_low",
        "_flying",
        "_touched",
        "_watch",
    )

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._flying = [0, 0]
        self._bases = [0, 0]
        self._e_low = self._e_ns = 0
        """Of the latest sure E; 0: none."""
        self._e_any_high = self._e_any_ns = 0
        """The latest position and time of any E, sure or not."""
        self._f_low = self._f_any_high = 0
        self._touched = 0
        """The position of the latest change."""

    def mark(self, step: int, sure: bool, arguments: Mapping[str, Json] | None) -> Mark | None:
        """See `Memory`."""
        self._flying[step] += 1
        return Mark(step, sure)

    def drop(self, mark: Mark) -> None:
        """See `Memory`."""
        self._flying[mark.step] -= 1

    def succeed(self, mark: Mark, at_ns: int, position: int) -> None:
        """See `Memory`."""
        if mark.step == 0:
            self._e_low, self._e_ns = position, at_ns
        else:
            self._f_low = position
        self.doubt(mark, at_ns, position)

    def doubt(self, mark: Mark, at_ns: int, position: int) -> None:
        """See `Memory`."""
        self._touched = position
        if mark.step == 0:
            self._e_any_high, self._e_any_ns = position, max(self._e_any_ns, at_ns)
        else:
            self._f_any_high = position

    def truth(self, now_ns: int) -> Truth:
        """Say whether E came in the extent, and no F after it."""
        watch = self._watch
        flying_e, flying_f = self._flying
        surely = self._e_low and not flying_f and self._e_low >= self._f_any_high
        if surely and _inside(watch, self._e_ns, now_ns):
            return True
        if flying_e:
            return None
        if not self._e_any_high or not _inside(watch, self._e_any_ns, now_ns):
            return False
        return False if self._e_any_high < self._f_low else None

    def begin_run(self) -> None:
        """See `Memory`."""
        if self._watch.in_run:
            self._flying, self._bases = [0, 0], [0, 0]
            self._e_low = self._e_any_high = self._f_low = self._f_any_high = 0

    def fork(self, *, child: bool) -> "Since":
        """See `Memory`."""
        copy = Since(self._watch)
        copy._flying, copy._bases = [*self._flying], [*self._flying]
        copy._e_low, copy._e_ns = self._e_low, self._e_ns
        copy._e_any_high, copy._e_any_ns = self._e_any_high, self._e_any_ns
        copy._f_low, copy._f_any_high = self._f_low, self._f_any_high
        copy._touched = self._touched
        return copy

    def join(self, child: "Since", *, forked_at: int, position: int) -> None:
        """Take in what the child's fork has become; what changed here since is in no known order to it."""
        for step in (0, 1):
            self._flying[step] += child._flying[step] - child._bases[step]
        child._bases = [*child._flying]
        if child._touched <= forked_at:
            return
        if self._touched <= forked_at:
            self._e_low, self._e_ns = child._e_low, child._e_ns
            self._e_any_high, self._f_low = child._e_any_high, child._f_low
            self._f_any_high = child._f_any_high
        else:
            # What the child has done came at some time between the fork and now.
            if child._e_low > forked_at and self._e_low <= forked_at:
                self._e_low, self._e_ns = forked_at + 1, child._e_ns
            if child._e_any_high > forked_at:
                self._e_any_high = position
            if child._f_low > forked_at:
                self._f_low = max(self._f_low, forked_at + 1)
            if child._f_any_high > forked_at:
                self._f_any_high = position
        self._e_any_ns = max(self._e_any_ns, child._e_any_ns)
        self._touched = position


class Calls:
    """`calls to E`: how many succeeded, and how many may have."""

    __slots__ = ("_base", "_doubts", "_flying", "_maybes", "_successes", "_sure", "_watch")

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._flying = self._sure = self._maybes = 0
        self._base = (0, 0, 0)
        """The three at the fork."""
        within_ns = watch.within_ns
        self._successes = None if within_ns is None else Moments(within_ns)
        self._doubts = None if within_ns is None else Moments(within_ns)

    def mark(self, step: int, sure: bool, arguments: Mapping[str, Json] | None) -> Mark | None:
        """See `Memory`."""
        self._flying += 1
        return Mark(step, sure)

    def drop(self, mark: Mark) -> None:
        """See `Memory`."""
        self._flying -= 1

    def succeed(self, mark: Mark, at_ns: int, position: int) -> None:
        """See `Memory`."""
        if self._successes is None:
            self._sure += 1
        else:
            self._successes.add(at_ns)

    def doubt(self, mark: Mark, at_ns: int, position: int) -> None:
        """See `Memory`."""
        if self._doubts is None:
            self._maybes += 1
        else:
            self._doubts.add(at_ns)

    def counted(self, now_ns: int) -> tuple[int, int | None]:
        """Return the least and the most that the number can be; None: no upper bound is known."""
        if self._successes is None or self._doubts is None:
            return self._sure, self._sure + self._maybes + self._flying
        sure, all_sure = self._successes.within(now_ns)
        doubts, all_doubts = self._doubts.within(now_ns)
        return sure, sure + doubts + self._flying if all_sure and all_doubts else None

    def begin_run(self) -> None:
        """See `Memory`."""
        if self._watch.in_run:
            self._flying = self._sure = self._maybes = 0
            self._base = (0, 0, 0)
            if self._successes is not None and self._doubts is not None:
                self._successes, self._doubts = self._successes.emptied(), self._doubts.emptied()

    def fork(self, *, child: bool) -> "Calls":
        """See `Memory`."""
        copy = Calls(self._watch)
        copy._flying, copy._sure, copy._maybes = copy._base = (self._flying, self._sure, self._maybes)
        if self._successes is not None and self._doubts is not None:
            copy._successes = self._successes.fork(child=child)
            copy._doubts = self._doubts.fork(child=child)
        return copy

    def join(self, child: "Calls", *, forked_at: int, position: int) -> None:
        """Add what the child's fork has counted."""
        flying, sure, maybes = child._base
        self._flying += child._flying - flying
        self._sure += child._sure - sure
        self._maybes += child._maybes - maybes
        child._base = (child._flying, child._sure, child._maybes)
        if self._successes is not None and child._successes is not None:
            self._successes.join(child._successes)
        if self._doubts is not None and child._doubts is not None:
            self._doubts.join(child._doubts)


class Order:
    """`order A then B then C`: how far the steps before the last have come, for each value of `same`.

    A step follows the one before if it was decided after that one's success; nothing is used up.
    """

    __slots__ = ("_anyhow", "_bases", "_flying", "_touched", "_watch", "_ways")

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._ways: dict[str, tuple[int, int]] = {}
        """Digest of the value -> how many steps surely came, and how many may have; latest touched last."""
        self._anyhow = 0
        """How many steps may have come of every value: theirs was withheld."""
        self._flying: dict[str | None, int] = {}
        """Calls in flight that may be the last step that is missing; None: of any value."""
        self._bases: dict[str | None, int] = {}
        self._touched = 0

    def mark(self, step: int, sure: bool, arguments: Mapping[str, Json] | None) -> Mark | None:
        """See `Memory`."""
        same = self._watch.same
        value: str | None = ""
        if same is not None:
            if arguments is None:
                value = None
            elif same in arguments:
                value = digest(arguments[same])
            else:
                return None  # without a value it is no step for any
        came, may_have = self._way(value)
        if may_have < step:
            return None
        if step == len(self._watch.events) - 1:
            self._flying[value] = self._flying.get(value, 0) + 1
        return Mark(step, sure and value is not None, value, came >= step)

    def drop(self, mark: Mark) -> None:
        """See `Memory`."""
        if mark.step == len(self._watch.events) - 1:
            left = self._flying[mark.value] - 1
            if left:
                self._flying[mark.value] = left
            else:
                del self._flying[mark.value]

    def succeed(self, mark: Mark, at_ns: int, position: int) -> None:
        """See `Memory`."""
        self._came(mark, position, surely=mark.follows)

    def doubt(self, mark: Mark, at_ns: int, position: int) -> None:
        """See `Memory`."""
        self._came(mark, position, surely=False)

    def _came(self, mark: Mark, position: int, *, surely: bool) -> None:
        self._touched = position
        done = mark.step + 1
        if mark.value is None:
            self._anyhow = max(self._anyhow, done)
            return
        came, may_have = self._ways.pop(mark.value, (0, 0))
        self._ways[mark.value] = (max(came, done) if surely else came, max(may_have, done))
        if len(self._ways) > MOST_VALUES:
            del self._ways[next(iter(self._ways))]

    def _way(self, value: str | None) -> tuple[int, int]:
        if value is None:  # it may be any: as far as any has come
            return 0, max([self._anyhow, *(may_have for _, may_have in self._ways.values())])
        came, may_have = self._ways.get(value, (0, 0))
        return came, max(may_have, self._anyhow)

    def truth(self, value: Json) -> Truth:
        """Say whether all steps but the last came, in order, with this value."""
        wanted = len(self._watch.events)
        key = "" if self._watch.same is None else digest(value)
        came, may_have = self._way(key)
        if came >= wanted:
            return True
        if may_have >= wanted or key in self._flying or None in self._flying:
            return None
        return False

    def begin_run(self) -> None:
        """See `Memory`."""
        if self._watch.in_run:
            self._ways, self._flying, self._bases, self._anyhow = {}, {}, {}, 0

    def fork(self, *, child: bool) -> "Order":
        """See `Memory`."""
        copy = Order(self._watch)
        copy._ways, copy._flying, copy._bases = {**self._ways}, {**self._flying}, {**self._flying}
        copy._anyhow, copy._touched = self._anyhow, self._touched
        return copy

    def join(self, child: "Order", *, forked_at: int, position: int) -> None:
        """Take in how far the child's fork has come; what came here meanwhile is in no known order to it."""
        for value in {*child._flying, *child._bases}:
            more = child._flying.get(value, 0) - child._bases.get(value, 0)
            left = self._flying.get(value, 0) + more
            if left > 0:
                self._flying[value] = left
            else:
                self._flying.pop(value, None)
        child._bases = {**child._flying}
        self._anyhow = max(self._anyhow, child._anyhow)
        if child._touched <= forked_at:
            return
        mixed = self._touched > forked_at
        for value, (came, may_have) in child._ways.items():
            here, may_here = self._ways.pop(value, (0, 0))
            may = max(may_have, may_here)
            self._ways[value] = (max(came, here), len(self._watch.events) if mixed and may else may)
        while len(self._ways) > MOST_VALUES:
            del self._ways[next(iter(self._ways))]
        self._touched = position


def _inside(watch: Watch, at_ns: int, now_ns: int) -> bool:
    return watch.within_ns is None or now_ns - at_ns < watch.within_ns
