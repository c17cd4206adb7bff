"""Real Redis and PostgreSQL servers for tests: started on loopback, killed and started again at will.

A server is started once per test process, on a port of its own, over a folder that goes with it.  Where it is
not installed the tests that need it are skipped and say so; with `TEST_SERVICES=required` they fail.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Protocol

import pytest

STARTED_WITHIN_S = 60
_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))


class Server(Protocol):
    """One server that tests may stop, kill and start again; what it holds stays."""

    @property
    def url(self) -> str:
        """Its store URL, without a database, schema or prefix of a test's own."""
        ...

    def start(self) -> None:
        """Start it and wait until it answers."""
        ...

    def stop(self) -> None:
        """Let it end in order."""
        ...

    def kill(self) -> None:
        """End it at once, with SIGKILL."""
        ...

    def freeze(self) -> None:
        """Let it answer nothing, with SIGSTOP, until `thaw`."""
        ...

    def thaw(self) -> None:
        """Let it answer again."""
        ...


class _Process:
    """A server's process, with all that it has started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self._user: str | None = None
        self._running: subprocess.Popen[bytes] | None = None

    def _command(self) -> list[str]:
        raise AssertionError("each server has its own")

    def _answers(self) -> bool:
        raise AssertionError("each server has its own")

    def start(self) -> None:
        if self._running is not None:
            return
        log = open(self.folder / "log", "ab")  # noqa: SIM115 - the server's until it ends
        self._running = subprocess.Popen(
            self._command(),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            start_new_session=True,
            user=self._user,
        )
        log.close()
        until = time.monotonic() + STARTED_WITHIN_S
        while not self._answers():
            if self._running.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.send_signal(signal.SIGINT)
            running.wait(STARTED_WITHIN_S)

    def kill(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            _signal_all(running.pid, signal.SIGKILL)
            running.wait(STARTED_WITHIN_S)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, how: signal.Signals) -> None:
        if self._running is not None:
            _signal_all(self._running.pid, how)


class Redis(_Process):
    """A Redis that keeps what it was told across a kill."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        said = (
            f"--port {self.port} --bind 127.0.0.1 --dir {self.folder} --appendonly yes --appendfsync always"
        )
        return ["redis-server", *said.split(), "--save", ""]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as talk:
                talk.sendall(b"PING\r\n")
                return talk.recv(16).startswith(b"+PONG")
        except OSError:  # not yet
            return False


class Postgres(_Process):
    """A PostgreSQL with one superuser, `ringfence`, who needs no password."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if os.geteuid() == 0:  # it refuses to run as root
            self._user = "postgres"
            shutil.chown(folder, "postgres")
        said = "--auth trust --username ringfence --no-sync --encoding UTF8 --locale C --pgdata"
        subprocess.run(
            [_postgres("initdb"), *said.split(), str(folder / "data")],
            check=True,
            capture_output=True,
            cwd=folder,
            user=self._user,
        )

    @property
    def url(self) -> str:
        return f"postgresql://ringfence@127.0.0.1:{self.port}/postgres"

    def _command(self) -> list[str]:
        said = (
            f"-p {self.port} -h 127.0.0.1 -k {self.folder} -F -c shared_buffers=16MB -c max_connections=200"
        )
        return [_postgres("postgres"), "-D", str(self.folder / "data"), *said.split()]

    def _answers(self) -> bool:
        said = [_postgres("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(said, check=False).returncode == 0


def _postgres(program: str) -> str:
    found = shutil.which(program) or next(
        (str(b / program) for b in reversed(_BINARIES) if (b / program).exists()), None
    )
    if found is None:
        raise FileNotFoundError(program)
    return found


def _signal_all(leader: int, how: signal.Signals) -> None:
    """Signal the server and the processes that it has started: PostgreSQL has one for each connection."""
    everyone = [leader]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
            if int(stat.read_text().rpartition(")")[2].split()[1]) == leader:
                everyone.append(int(stat.parent.name))
    for process in everyone:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, how)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@cache
def missing(name: str) -> str | None:
    """Return what is not installed for this service, or None."""
    if name == "redis":
        return None if shutil.which("redis-server") else "redis-server"
    if name == "chromium":
        return None if shutil.which("chromium") else "Chromium"
    try:
        _postgres("initdb")
    except FileNotFoundError:
        return "PostgreSQL"
    return None


def needed(name: str) -> None:
    """Skip the test if the service is not installed; fail where it is required."""
    what = missing(name)
    if what is None:
        return
    why = f"{what} is not installed: `make test-services` installs it"
    if os.environ.get("TEST_SERVICES") == "required":
        pytest.fail(why)
    pytest.skip(why)


_MADE: dict[str, Callable[[Path], _Process]] = {"redis": Redis, "postgres": Postgres}


@contextlib.contextmanager
def server(name: str) -> Iterator[_Process]:
    """Start a server of one's own."""
    needed(name)
    folder = Path(tempfile.mkdtemp(prefix=f"ringfence-{name}-"))
    folder.chmod(0o755)
    made = _MADE[name](folder)
    try:
        made.start()
        yield made
    finally:
        made.thaw()
        made.kill()
        shutil.rmtree(folder, ignore_errors=True)
