"""A file written anew, whole or not at all."""

import os
import tempfile
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Put `text` in the place of a file's content: a reader sees the old or the new one, never a part.

    A link stays a link, and the file keeps its mode.  Raises OSError and leaves the file as it was.
    """
    target = path.resolve(strict=True)
    _put(target, text, target.stat().st_mode & 0o7777)


def put_private(path: Path, text: str) -> None:
    """Put `text` into a file that only its owner may read, whole or not at all, whether it is there or not.

    A link stays a link.  Raises OSError and leaves what was there.
    """
    _put(path.resolve(), text, 0o600)


def _put(target: Path, text: str, mode: int) -> None:
    handle, fresh = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:60]}.")
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(fresh, mode)
        os.replace(fresh, target)
    except BaseException:  # nothing is left behind, and the error goes on
        os.unlink(fresh)
        raise
