"""Where a page goes: a file that only its owner may read, put there whole, and never over anything else."""

from pathlib import Path

from ringfence.cli.exits import CommandError
from ringfence.cli.page.drawing import MARK
from ringfence.cli.replacing import put_private
from ringfence.engine.seams.escape import escaped


def writable(file: str) -> Path:
    """Return where the page may be written: nothing is there, or a page of ours.

    Raises:
        CommandError: Something else is there.
    """
    path = Path(file)
    said = escaped(file)
    try:
        if not path.is_file():
            if path.exists() or not file:
                raise CommandError(f"`{said}` is no file", help="name one, or `-` for the standard output")
            return path
        with path.open("rb") as there:
            ours = there.read(len(MARK)) == MARK.encode()
    except OSError as error:
        raise CommandError(f"{said} cannot be read: {error.strerror}") from error
    if not ours:
        raise CommandError(
            f"{said} is there already, and is no page of ours", help="nothing was written over it"
        )
    return path


def file_page(path: Path, document: str) -> None:
    """Write the page."""
    try:
        put_private(path, document)
    except OSError as error:
        raise CommandError(f"{escaped(str(path))} cannot be written: {error.strerror}") from error
