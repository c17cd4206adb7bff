"""Policy files as commands meet them."""

from argparse import Namespace
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ringfence.cli.exits import CommandError
from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.load import Live, Loaded, load
from ringfence.dsl.plan import Json
from ringfence.engine.seams.plain import plain_ceilings

if TYPE_CHECKING:
    from ringfence.dsl.draft import Absent, Installed
    from ringfence.engine.seams.settings import Settings


def policy_of(asked: Namespace, *, live: Live | None = None) -> Loaded:
    """Load the policy that a command names, under the ceilings that its settings pin."""
    ceilings = plain_ceilings(asked.settings)
    if ceilings is None:
        from ringfence.cli.desk import settings_of

        return read_policy(asked.file, settings_of(asked), live=live)

    @cache
    def allowed() -> "Installed":  # only once the policy names a plugin
        from ringfence.cli.desk import installed, settings_of

        return installed(settings_of(asked))

    def found(name: str) -> "bool | Absent":
        return allowed()(name)

    return _read(asked.file, ceilings, found, live)


def read_policy(
    file: str, settings: "Settings", *, ceilings: Sequence[str] = (), live: Live | None = None
) -> Loaded:
    """Load a policy under the pinned ceilings and these; refuse a file that cannot be read at all."""
    from ringfence.cli.desk import installed

    return _read(file, (*settings.ceilings, *ceilings), installed(settings), live)


def _read(file: str, ceilings: Sequence[str | Path], installed: "Installed", live: Live | None) -> Loaded:
    try:
        return load(file, ceilings=ceilings, installed=installed, live=live)
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{file} is not UTF-8: byte {error.start} does not belong to a character", help="save it as UTF-8"
        ) from error
    except OSError as error:
        raise CommandError(
            f"{error.filename or file} cannot be read: {error.strerror or error}",
            help="name a .fence file that exists",
        ) from error


def diagnostic_record(found: Diagnostic) -> dict[str, Json]:
    """Return a diagnostic for programs; lines and columns count from 1, offsets into the file from 0, the
    end is exclusive.
    """
    place = found.source.place(found.span)
    begins = found.source.file(found.span).start
    return {
        "code": found.code,
        "error": found.is_error,
        "message": found.message,
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "start": found.span.start - begins,
        "end": found.span.end - begins,
        "label": found.label,
        "help": found.help,
        "page": found.page,
    }
