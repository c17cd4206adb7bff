"""A file of lines that only grows: whole lines, on the disk before anything is said to be.

Several processes may append to it, and it may be renamed under them (`logrotate` without `copytruncate`).
A line without its end was torn by a crash while it was written; whoever comes next cuts it off.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_ID = re.compile(rb'\{"id":("(?:[^"\\]|\\.)*"),')
"""How each line begins (`Event.line`)."""


class LinesFile:
    """The file at `path`, made if there is none, readable for its owner alone.

    Raises:
        OSError: It cannot be opened for writing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _opened(path)

    def append(self, lines: Sequence[str]) -> None:
        """Append the lines durably, or none of them; raise OSError if that fails."""
        data = "".join(f"{line}\n" for line in lines).encode("ascii")
        if self._was_renamed():
            new = _opened(self._path)
            os.close(self._file)
            self._file = new
        with _alone(self._file):
            before = _whole(self._file)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(self._file, view) :]
                os.fsync(self._file)
            except BaseException:
                os.ftruncate(self._file, before)
                raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _was_renamed(self) -> bool:
        try:
            there = os.stat(self._path)
        except FileNotFoundError:  # a new one is made
            return True
        here = os.fstat(self._file)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def held(path: Path) -> Iterator[tuple[str, int]]:
    """Yield run and seq of each whole line; nothing if there is no such file.

    Raises:
        ValueError: A line is no event: the file is something else's.
    """
    if not path.exists():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            run, colon, seq = _id(line).rpartition(":")
            if not colon or not seq.isascii() or not seq.isdecimal():
                raise ValueError(f"line {number} of {path} is no event: name a file of the sink's own")
            yield run, int(seq)


def _id(line: bytes) -> str:
    found = _ID.match(line)
    try:
        said = json.loads(found[1]) if found else ""
    except ValueError:  # no id: refused by the caller
        return ""
    return said if isinstance(said, str) else ""


def _opened(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # the name of a new file must last as well as its lines
        finally:
            os.close(folder)
    except BaseException:
        os.close(file)
        raise
    return file


@contextmanager
def _alone(file: int) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _whole(file: int) -> int:
    """Cut off a last line that has no end, and return the length of the file; alone with it."""
    size = os.fstat(file).st_size
    end = size
    while end:
        start = max(0, end - 65_536)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(file, end)
    return end
