"""What can be wrong with a Redis, each as one sentence that says how to mend it."""

from dataclasses import dataclass
from typing import Final

from redis import exceptions

from ringfence.plugin import EngineError, StoreAwayError
from ringfence.plugins.redis.address import Address


class LostError(Exception):
    """What the store held is gone: another incarnation answers, or none."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, how to mend it, and whether it may pass by itself."""

    what: str
    mend: str
    passes: bool = False

    def __str__(self) -> str:
        return f"{self.what}; {self.mend}"

    def as_engine_error(self) -> EngineError:
        """Return the error of a store that fails while it is used."""
        kind = StoreAwayError if self.passes else EngineError
        return kind(self.what, help=self.mend)

    def as_opening_error(self) -> Exception:
        """Return the error of a store that cannot be opened: asking again helps, or somebody must mend it."""
        return self.as_engine_error() if self.passes else RuntimeError(str(self))


_PASSING: Final = {
    "LOADING": ("is loading its data", "it answers when it has read its files"),
    "BUSY": ("is busy with a script of somebody else", "look for the script with `SLOWLOG GET`"),
    "READONLY": (
        "is a replica, which takes no charges",
        "name the primary in the URL, or wait until the failover is over",
    ),
    "MASTERDOWN": ("is a replica that lost its primary", "bring the primary back"),
    "CLUSTERDOWN": ("belongs to a cluster that is down", "see `CLUSTER INFO`"),
    "TRYAGAIN": ("is moving the slot of the store", "wait until the cluster is balanced"),
    "OOM": ("has no memory left", "raise its `maxmemory`"),
    "MISCONF": ("cannot write to its disk, and so takes no charges", "see its log; free disk space"),
    "NOREPLICAS": ("misses the replicas that it must have", "bring its replicas back"),
}
"""The word with which the server refuses -> what it means; all of them pass, or a person makes them pass."""

_CLASSES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (exceptions.BusyLoadingError, "LOADING"),
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.TryAgainError, "TRYAGAIN"),
    (exceptions.OutOfMemoryError, "OOM"),
)
"""The library takes these words off the message."""


def fault_of(error: BaseException, address: Address, *, timeout_s: float) -> Fault:
    """Return what an error means for whoever runs the guard.

    SECURITY: what the server or the library says is shown without the password.
    """
    redis = f"the Redis at `{address.place}`"
    if isinstance(error, LostError):
        return Fault(
            f"{redis} has lost its data: what was taken from the budgets is not known there any more",
            "nothing is handed out anew under a guard that lives: switch `appendonly` on for the next time,"
            " and restart the processes that use this store to go on with empty budgets",
        )
    word = next((word for kind, word in _CLASSES if isinstance(error, kind)), None)
    if word is None and isinstance(error, exceptions.ResponseError):
        # A refusal inside a script may be told inside of another one, after a dash.
        said = [one.lstrip("-") for one in str(error).split()]
        word = next((one for one in said if one in _PASSING), None)
    if word is not None:
        what, mend = _PASSING[word]
        return Fault(f"{redis} {what}", mend, passes=True)
    if isinstance(error, exceptions.AuthenticationError) or _unauthenticated(error):
        return Fault(
            f"{redis} refuses the user or the password", "write both in the URL as the server knows them"
        )
    if isinstance(error, exceptions.NoPermissionError | exceptions.AuthorizationError):
        return Fault(
            f"{redis} lets this user do less than a store needs",
            "give it `+@all -@dangerous +info ~" + address.root + "*`",
        )
    if isinstance(error, TimeoutError | exceptions.TimeoutError):
        return Fault(
            f"{redis} did not answer within {timeout_s:g} s",
            "see whether it is overloaded, frozen, or behind a firewall",
            passes=True,
        )
    if isinstance(error, exceptions.MovedError):
        return Fault(
            f"{redis} is a node of a cluster that does not keep this store",
            f"name the node `{error.host}:{error.port}` in the URL, or another prefix",
        )
    if isinstance(error, exceptions.ConnectionError | OSError):
        why = _why(error) or " ".join(address.without_password(str(error)).split())[:300]
        return Fault(
            f"{redis} cannot be reached: {why}",
            "see whether it runs, and whether the URL names it",
            passes=True,
        )
    text = " ".join(address.without_password(str(error)).split())[:300]
    return Fault(f"{redis} failed: {text}", "see its log, and whether other programs write under this prefix")


def _unauthenticated(error: BaseException) -> bool:
    return isinstance(error, exceptions.ResponseError) and str(error).startswith(("NOAUTH", "WRONGPASS"))


def _why(error: BaseException) -> str:
    """Return the system's own words, if it has any."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        seen = seen.__cause__ or seen.__context__
    return ""
