"""Where the files of a policy are found: on disk, through a function, in a record."""

import errno
import os
import posixpath
import stat
from collections.abc import Callable, Iterable

from ringfence.dsl.plan import TextFile
from ringfence.dsl.source import decoded

LARGEST_BYTES = 16 * 1024 * 1024
"""A file of a policy is no larger."""

Read = Callable[[str], str]
"""Returns the text of a file by name; raises OSError or LookupError if there is none."""


class Disk:
    """The files of this machine."""

    def identity(self, name: str) -> str:
        """Return the path with every link followed."""
        return os.path.realpath(name)

    def text(self, name: str) -> str:
        """Return the text of a regular file that is not too large."""
        # a pipe or a device would be waited for, or never end
        patient = getattr(os, "O_NONBLOCK", 0)
        with open(name, "rb", opener=lambda path, flags: os.open(path, flags | patient)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file", name)
            content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise OSError(errno.EFBIG, f"it is larger than {LARGEST_BYTES} bytes", name)
        return decoded(content)


class Reading:
    """Files that a function gives; without one there are none."""

    def __init__(self, read: Read | None) -> None:
        self._read = read

    def identity(self, name: str) -> str:
        """Return the name without detours."""
        return posixpath.normpath(name)

    def text(self, name: str) -> str:
        """Return what the function gives."""
        if self._read is None:
            raise OSError(errno.ENOENT, "the policy is loaded from its text, without files", name)
        return self._read(posixpath.normpath(name))


class Recorded:
    """The files that a plan was made from; two names of one file have the same text.

    Two files may say the same too.  That matters where they use others, by paths beside themselves.
    """

    def __init__(self, files: Iterable[TextFile]) -> None:
        self._texts = {file.name: file.text for file in files}

    def identity(self, name: str) -> str:
        """Return the text, with the directory if it may use others; an unknown name stands for itself."""
        text = self._texts.get(name)
        if text is None:
            return name
        return f"{posixpath.normpath(posixpath.dirname(name))}\n{text}" if "use" in text else text

    def text(self, name: str) -> str:
        """Return the recorded text."""
        return self._texts[name]
