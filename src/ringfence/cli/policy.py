"""Policy files as commands meet them."""

from collections.abc import Sequence

from ringfence.cli.exits import CommandError
from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.load import Loaded, load
from ringfence.dsl.plan import Json


def read_policy(file: str, *, ceilings: Sequence[str] = ()) -> Loaded:
    """Load a policy, under the ceilings that are pinned; refuse a file that cannot be read at all."""
    try:
        return load(file, ceilings=ceilings)
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
    """Return a diagnostic for programs; lines and columns count from 1, the end is exclusive."""
    place = found.source.place(found.span)
    return {
        "code": found.code,
        "error": found.is_error,
        "message": found.message,
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "start": found.span.start,
        "end": found.span.end,
        "label": found.label,
        "help": found.help,
    }
