"""Who is alive: each holder locks a file of its own, and the kernel lets go when its process dies.

The files stand in `DATABASE.holders/`.  A lock that can be taken by somebody else belongs to nobody, so
the holder is dead, whatever it managed to write before.  `flock` and not `fcntl` locks: the latter are
dropped as soon as the process closes any descriptor of the file.  Who asks takes a shared lock, so that
two who ask at once do not see each other.
"""

import contextlib
import os
import weakref
from hashlib import sha256
from pathlib import Path

LOCKS = True
try:
    import fcntl
except ImportError:  # Windows: nobody can be shown to be dead, so every lease stands until it is released
    LOCKS = False


class Holders:
    """The holders that this store object speaks for, and a way to ask about all others."""

    def __init__(self, database: Path) -> None:
        self._folder = database.with_name(f"{database.name}.holders")
        self._mine: dict[str, int] = {}
        _all.add(self)

    def live(self, holder: str) -> None:
        """Say that `holder` is alive as long as this process is; raise OSError if that cannot be said."""
        if holder in self._mine or not LOCKS:
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._path(holder)
        # Locked under a name of its own and then moved: nobody ever sees it unlocked.
        fresh = path.with_name(f"{path.name}.{os.getpid()}.{id(self):x}")
        descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, holder.encode("utf-8", "backslashreplace"))
            os.replace(fresh, path)
        except BaseException:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
        self._mine[holder] = descriptor

    def alive(self, holder: str) -> bool:
        """Return False only if the holder is known to be dead."""
        if holder in self._mine or not LOCKS:
            return True
        try:
            descriptor = os.open(self._path(holder), os.O_RDWR)
        except FileNotFoundError:
            return False
        except OSError:  # fails closed: what cannot be asked counts as alive
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:  # somebody holds it; fails closed for any other reason
            return True
        finally:
            os.close(descriptor)
        return False

    def sweep(self) -> None:
        """Remove the files of dead holders; their leases fall to whoever asks next."""
        if not LOCKS or not self._folder.is_dir():
            return
        mine = {self._path(holder) for holder in self._mine}
        with contextlib.suppress(OSError):  # a file that stays is only litter: `alive` asks its lock
            for path in list(self._folder.iterdir()):
                if path not in mine and not path.suffix:  # one with a suffix is being made just now
                    _remove_if_dead(path)

    def close(self) -> None:
        """Let go of every holder of this object."""
        for holder, descriptor in list(self._mine.items()):
            with contextlib.suppress(OSError):
                self._path(holder).unlink()
            os.close(descriptor)
        self._mine.clear()

    def forget(self) -> None:
        """In a forked child: the parent's holders are the parent's alone."""
        for descriptor in self._mine.values():
            os.close(descriptor)
        self._mine.clear()

    def _path(self, holder: str) -> Path:
        return self._folder / sha256(holder.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _remove_if_dead(path: Path) -> None:
    with contextlib.suppress(OSError):  # it is locked: its holder lives; or somebody else removed it
        descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            path.unlink()  # under its lock: a holder's name is drawn once, so nobody makes this file again
        finally:
            os.close(descriptor)


_all: "weakref.WeakSet[Holders]" = weakref.WeakSet()


def _forget_all() -> None:
    for holders in list(_all):
        holders.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
