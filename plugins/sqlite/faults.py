"""What can be wrong with the file, each as one sentence that says how to mend it."""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from ringfence.plugin import EngineError, StoreAwayError
from ringfence.plugins.sqlite.schema import VERSION


class NewerSchemaError(Exception):
    """The file was written by a newer version of Ringfence."""


class ForeignFileError(Exception):
    """The file is a database of another program."""


class EmptyFileError(Exception):
    """The file holds no table, and whoever opens it makes none."""


class ChangedSchemaError(Exception):
    """Somebody added, changed or removed a trigger or a view of the file."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and how to mend it."""

    what: str
    mend: str
    passes: bool = False
    """True if nothing was written, and the same can be asked again once somebody has mended it."""

    def __str__(self) -> str:
        return f"{self.what}; {self.mend}"

    def as_engine_error(self, cause: BaseException) -> EngineError:
        """Return the error of a store that fails while it is used."""
        error = (StoreAwayError if self.passes else EngineError)(self.what, help=self.mend)
        error.__cause__ = cause
        return error


def missing(path: Path) -> Fault:
    """Return the fault of a file that must exist and does not."""
    return Fault(
        f"there is no store at `{path}`",
        "name the right file with `--store` or in `ringfence.toml`, or let a guard make it first",
    )


def read_only(path: Path) -> Fault:
    """Return the fault of a file that would have to be written, and may only be read."""
    return Fault(f"the store `{path}` is read-only", "give this user the right to write it")


def reading_fault(path: Path) -> Fault | None:
    """Return what keeps a file that is there from being read, as far as paths tell."""
    # What was committed last may stand in the write-ahead log alone, and a writer's locks in the index.
    for part in (path, *beside(path)):
        if part.exists() and not _may(part, os.R_OK):
            return Fault(f"`{part}` may not be read", "give this user the right to read it")
    return None


def beside(path: Path) -> tuple[Path, Path]:
    """Return the write-ahead log of a file, and the index of that."""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def path_fault(path: Path) -> Fault | None:
    """Return what keeps the file from being opened or made, as far as its path tells."""
    folder = path.parent
    if path.is_dir():
        return Fault(f"`{path}` is a folder, not a store", "name a file in it: `sqlite:///…/ringfence.db`")
    if not folder.is_dir():
        if folder.exists():
            return Fault(f"`{folder}` is not a folder", "name a file in a folder that exists")
        return Fault(f"the folder `{folder}` of the store does not exist", "make it, or name another file")
    if path.exists():
        if not _may(path, os.R_OK):
            return Fault(
                f"the store `{path}` may not be read", "give this user the right to read and write it"
            )
        if not _may(path, os.W_OK):
            return read_only(path)
    if not _may(folder, os.W_OK | os.X_OK):
        return Fault(
            f"the folder `{folder}` of the store may not be written",
            "SQLite keeps its write-ahead log beside the file: give this user the right to write the folder",
        )
    return None


def fault_of(error: BaseException, path: Path, *, busy_s: float) -> Fault:
    """Return what an error of SQLite, or of opening the file, means for whoever runs the guard."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if isinstance(error, NewerSchemaError):
        return Fault(
            f"the store `{path}` has schema {error}, this Ringfence knows schemas up to {VERSION}",
            "upgrade Ringfence, or name another file",
        )
    if isinstance(error, ForeignFileError):
        return Fault(f"`{path}` is the database of another program", "name a file of its own for Ringfence")
    if isinstance(error, EmptyFileError):
        return Fault(
            f"the store `{path}` is empty",
            "name the file that the agent has written; if this is it, bring back the last backup",
        )
    if isinstance(error, ChangedSchemaError):
        return Fault(
            f"the store `{path}` has other triggers or views than Ringfence made",
            "somebody changed it: keep a copy, and bring back the last backup",
        )
    match primary:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Fault(
                f"the store `{path}` stayed locked by another process for {busy_s:g} s",
                "end the process that holds it (`fuser` names it), or try again",
                passes=True,
            )
        case sqlite3.SQLITE_FULL:
            return Fault(f"there is no room left to write the store `{path}`", "free disk space", passes=True)
        case sqlite3.SQLITE_NOTADB:
            return Fault(
                f"`{path}` is not a SQLite database", "name another file; this one was left as it is"
            )
        case sqlite3.SQLITE_CORRUPT:
            return Fault(
                f"the store `{path}` is damaged",
                "keep a copy, and bring back the last backup: `ringfence verify` says whether that is whole",
            )
        case sqlite3.SQLITE_READONLY:
            return Fault(
                f"the store `{path}` is read-only",
                "give this user the right to write it and its folder",
                passes=code != sqlite3.SQLITE_READONLY_DBMOVED,
            )
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            said = path_fault(path)
            return said or Fault(
                f"the store `{path}` cannot be opened", "check the rights of the file and its folder"
            )
        case sqlite3.SQLITE_IOERR:
            return Fault(f"the disk under the store `{path}` fails: {error}", "check the disk and its quota")
    return Fault(f"the store `{path}` failed: {error}", "see `ringfence doctor`")


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
