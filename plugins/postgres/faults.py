"""What can be wrong with the server, each as one sentence that says how to mend it."""

from dataclasses import dataclass
from typing import Final

import asyncpg

from ringfence.plugin import EngineError, StoreAwayError
from ringfence.plugins.postgres.address import Address

AGAIN: Final = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: the server undid the transaction, ask the same again."""


class NewerSchemaError(Exception):
    """The schema was made by a newer version of Ringfence."""


class ForeignSchemaError(Exception):
    """The schema belongs to another program."""


class ChangedSchemaError(Exception):
    """Somebody changed Ringfence's functions, or added a trigger or a rule."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and how to mend it."""

    what: str
    mend: str
    away: bool = False
    """True if the server may be back, and the same may be asked again."""

    def __str__(self) -> str:
        return f"{self.what}; {self.mend}"

    def as_engine_error(self, cause: BaseException) -> EngineError:
        """Return the error of a store that fails while it is used."""
        error = (StoreAwayError if self.away else EngineError)(self.what, help=self.mend)
        error.__cause__ = cause
        return error


def fault_of(error: BaseException, at: Address, *, within_s: float, connecting: bool = False) -> Fault:
    """Return what an error means for whoever runs the guard; what fails at connecting may work later."""
    found = _of_schema(error, at) or _of_state(error, at, within_s) or _of_client(error, at, within_s)
    return Fault(at.without_secrets(found.what), found.mend, found.away or connecting)


def _of_schema(error: BaseException, at: Address) -> Fault | None:
    if isinstance(error, NewerSchemaError):
        return Fault(
            f"the schema `{at.schema}` of {at.shown} has version {error}, which this Ringfence does not know",
            "upgrade Ringfence, or name another schema with `?schema=NAME`",
        )
    if isinstance(error, ForeignSchemaError):
        return Fault(
            f"the schema `{at.schema}` of {at.shown} belongs to another program",
            "name a schema of its own for Ringfence with `?schema=NAME`",
        )
    if isinstance(error, ChangedSchemaError):
        return Fault(
            f"the schema `{at.schema}` of {at.shown} was changed: {error}",
            "somebody changed it: keep a copy, and bring back the last backup",
        )
    return None


def _of_state(error: BaseException, at: Address, within_s: float) -> Fault | None:
    """Return the fault that the server told of (PostgreSQL documentation, appendix A)."""
    state = str(getattr(error, "sqlstate", None) or "")
    match state:
        case "28P01" | "28000":
            return Fault(
                f"{at.shown} does not let this user in: {error}",
                "check the user and the password in the URL, and `pg_hba.conf` of the server",
            )
        case "3D000":
            return Fault(
                f"the database of {at.shown} does not exist", "make it with `createdb`, or name another"
            )
        case "42501":
            return Fault(
                f"the role may not do this at {at.shown}: {error}",
                f"let an owner say `GRANT CREATE ON DATABASE … TO …` once, or make the schema for the role: "
                f"`CREATE SCHEMA {at.schema} AUTHORIZATION …`",
            )
        case "57P03":
            return Fault(f"{at.shown} is starting up or shutting down", "wait until it answers", away=True)
        case "57P01" | "57P02" | "57P05":
            return Fault(f"{at.shown} ended the connection: {error}", "wait until it is back", away=True)
        case "53300":
            return Fault(
                f"{at.shown} takes no more connections",
                "raise `max_connections`, or put a pooler before it",
                away=True,
            )
        case "25006":
            return Fault(
                f"{at.shown} is read-only: a standby, or a database that was made so",
                "name the primary; with several hosts in the URL add `?target_session_attrs=read-write`",
                away=True,
            )
        case "57014" | "55P03" | "25P03":
            return Fault(
                f"{at.shown} did not finish within {within_s:g} s: {error}",
                "look in `pg_stat_activity` for what holds it up",
                away=True,
            )
        case "40001" | "40P01":
            return Fault(f"{at.shown} undid the transaction again and again: {error}", "ask again", away=True)
        case "3F000" | "42P01" | "42883":
            return Fault(
                f"the schema `{at.schema}` of {at.shown} was dropped or changed while it was in use",
                "bring it back from the last backup if you can, then start the process again",
            )
    if state.startswith(("08", "53")):
        return Fault(f"{at.shown} is away: {error}", "see the log of the server", away=True)
    return None


def _of_client(error: BaseException, at: Address, within_s: float) -> Fault:
    if isinstance(error, TimeoutError):
        return Fault(
            f"{at.shown} did not answer within {within_s:g} s",
            "check that the server runs and can be reached",
            away=True,
        )
    if isinstance(error, asyncpg.ClientConfigurationError):
        return Fault(f"the URL {at.shown} cannot be used: {error}", "see `docs/operating.md` for its form")
    if isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return Fault(
            f"{at.shown} cannot be reached: {error}",
            "check that the server runs, its host and its port",
            away=True,
        )
    return Fault(f"{at.shown} failed: {error}", "see the log of the server")
