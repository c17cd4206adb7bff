"""An intruder who has taken V8 over: Python run in the worker after its lock-down.

Each attack runs against all walls, where it must fail, and against none, where it must succeed: that shows
that the test would notice.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import walls
from tests.plugins.isolate.accounts import Account, account, everybody
from tests.plugins.isolate.worker_harness import KERNEL_WALLS, EndedError, Worker, intruded

pytest.importorskip("py_mini_racer")

SIGSYS = -signal.SIGSYS

OPEN = "import os; seen = os.open({path!r}, os.O_RDONLY) > 0"
LIST = "import os; seen = len(os.listdir('/')) > 0"
WRITE = "import os; os.close(os.open({path!r}, os.O_WRONLY | os.O_CREAT)); seen = True"
CONNECT = "import _socket as s; c = s.socket(2, 1); c.connect(('127.0.0.1', {port})); seen = True"
CONNECT_UNIX = "import _socket as s; c = s.socket(s.AF_UNIX, s.SOCK_STREAM); c.connect({path!r}); seen = True"
EXECUTE = "import os; os.execv('/bin/true', ['true'])"
FORK = """
import os
child = os.fork()
if child == 0:
    os._exit(0)
seen = os.waitpid(child, 0)[1] == 0
"""
SIGNAL_PARENT = "import os; os.kill({parent}, 0); seen = True"
MAP_EXECUTABLE = "seen = kernel.call('mmap', 0, 4096, 7, 0x22, -1, 0) != 0"
MAKE_EXECUTABLE = """
at = kernel.call('mmap', 0, 4096, 3, 0x22, -1, 0)
seen = kernel.call('mprotect', at, 4096, 5) == 0
"""
READ_PARENT = "seen = len(open('/proc/{parent}/environ', 'rb').read()) >= 0"
READ_OWN_MEMORY = "seen = len(open('/proc/self/maps').read()) > 0"
MEMFD = """
import ctypes
name = ctypes.create_string_buffer(b"x")
seen = kernel.call("memfd_create", ctypes.addressof(name), 0) > 0
"""
SEIZE = "seen = kernel.call('ptrace', 0x4206, {victim}, 0, 0) == 0"
PTRACE = "seen = kernel.call('ptrace', 0, 0, 0, 0) == 0"
LOAD = "import colorsys; seen = True"
TAKE_MEMORY = "seen = len(bytearray(1 << 30)) == 1 << 30"
SHARE_MEMORY = "seen = kernel.call('mmap', 0, 8 << 30, 3, 0x21, -1, 0) != 0"
GROW_DOWN = "seen = kernel.call('mmap', 0, 1 << 30, 3, 0x122, -1, 0) != 0"
DUPLICATE = "import os; seen = os.dup(0) > 0"
MOUNT_TOOLS = "seen = kernel.refusal('unshare', 0) == 0"


@pytest.fixture(scope="module", params=everybody())
def user(request: pytest.FixtureRequest) -> Account:
    walls.needed()
    return account(request.param)


VICTIM = """
import ctypes, sys
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)
print("ready", flush=True)
sys.stdin.read()
"""
"""A process that lets anybody trace it, where the kernel has such a rule."""


@pytest.fixture
def facts(tmp_path: Path) -> Iterator[dict[str, object]]:
    """A file, an open port, a socket in the file system, and a parent to be hurt."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    tmp_path.chmod(0o777)
    for above in tmp_path.parents:
        if above.stat().st_uid == os.geteuid() and len(above.parts) > 2:
            above.chmod(above.stat().st_mode | 0o011)
    with socket.socket() as listening, socket.socket(socket.AF_UNIX) as local:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        local.bind(str(tmp_path / "local"))
        (tmp_path / "local").chmod(0o777)
        local.listen(8)
        with subprocess.Popen(
            [sys.executable, "-c", VICTIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as victim:
            assert victim.stdout is not None and victim.stdout.readline() == b"ready\n"
            yield {
                "path": str(secret),
                "port": listening.getsockname()[1],
                "local": str(tmp_path / "local"),
                "new": str(tmp_path / "new"),
                "parent": os.getpid(),
                "victim": victim.pid,
            }
            victim.kill()


def attacks(facts: dict[str, object]) -> dict[str, str]:
    return {
        "open": OPEN.format(path=facts["path"]),
        "list": LIST,
        "write": WRITE.format(path=facts["new"]),
        "connect": CONNECT.format(port=facts["port"]),
        "connect unix": CONNECT_UNIX.format(path=facts["local"]),
        "fork": FORK,
        "signal the parent": SIGNAL_PARENT.format(parent=facts["parent"]),
        "map executable": MAP_EXECUTABLE,
        "make executable": MAKE_EXECUTABLE,
        "read the parent's environment": READ_PARENT.format(parent=facts["parent"]),
        "read own memory": READ_OWN_MEMORY,
        "memfd": MEMFD,
        "ptrace": PTRACE,
        "ptrace another process": SEIZE.format(victim=facts["victim"]),
        "import a module": LOAD,
        "take memory": TAKE_MEMORY,
        "take shared memory": SHARE_MEMORY,
        "take memory that grows down": GROW_DOWN,
        "duplicate a descriptor": DUPLICATE,
        "unshare": MOUNT_TOOLS,
    }


FATAL = {
    "connect",
    "connect unix",
    "fork",
    "signal the parent",
    "memfd",
    "ptrace",
    "ptrace another process",
    "unshare",
}
REFUSED_AS = {
    "open": "PermissionError 1",
    "list": "PermissionError 1",
    "write": "PermissionError 1",
    "map executable": "PermissionError 1",
    "make executable": "PermissionError 1",
    "read the parent's environment": "PermissionError 1",
    "read own memory": "PermissionError 1",
    "import a module": "ModuleNotFoundError",
    "take memory": "MemoryError",
    "take shared memory": "PermissionError 1",
    "take memory that grows down": "PermissionError 1",
    "duplicate a descriptor": "PermissionError 1",
}
ATTACKS = sorted(FATAL | set(REFUSED_AS))


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_wall_up_an_attack_is_refused_or_ends_the_worker(
    user: Account, facts: dict[str, object], attack: str
) -> None:
    with intruded(account=user) as worker:
        assert all(worker.layers.values()), worker.ready
        source = attacks(facts)[attack]
        if attack in FATAL:
            with pytest.raises(EndedError) as ended:
                worker.inject(source)
            assert ended.value.status == SIGSYS
        else:
            assert worker.inject(source).startswith(REFUSED_AS[attack])
            assert worker.result("() => 1") == 1
    assert not Path(str(facts["new"])).exists()


@pytest.mark.parametrize("attack", ATTACKS)
def test_without_walls_the_same_attack_succeeds(facts: dict[str, object], attack: str) -> None:
    with intruded(leave_out=KERNEL_WALLS) as worker:
        assert not any(worker.layers[name] for name in KERNEL_WALLS)
        assert worker.inject(attacks(facts)[attack]) == "True"


def test_another_program_cannot_be_run(user: Account) -> None:
    with intruded(account=user) as worker:
        with pytest.raises(EndedError) as ended:
            worker.inject(EXECUTE)
        assert ended.value.status == SIGSYS


def test_without_walls_another_program_runs() -> None:
    with intruded(leave_out=KERNEL_WALLS) as worker:
        with pytest.raises(EndedError) as ended:
            worker.inject(EXECUTE)
        assert ended.value.status == 0


@pytest.mark.parametrize(
    ("without", "attack", "seen"),
    [
        (("seccomp",), "open", "OSError 24"),
        (("seccomp", "limits"), "open", "PermissionError 13"),
        (("seccomp", "limits"), "write", "PermissionError 13"),
        (("seccomp", "limits"), "connect", "PermissionError 13"),
        (("seccomp", "limits", "Landlock"), "connect", "OSError 101"),
        (("seccomp",), "fork", "True"),
        (("seccomp",), "take memory", "MemoryError"),
        (("seccomp", "limits"), "signal the parent", "PermissionError 1"),
    ],
)
def test_each_wall_stands_alone_behind_the_one_before(
    facts: dict[str, object], without: tuple[str, ...], attack: str, seen: str
) -> None:
    with intruded(leave_out=without) as worker:
        assert worker.inject(attacks(facts)[attack]).startswith(seen)


def test_the_environment_holds_nothing_of_the_host(user: Account) -> None:
    with intruded(account=user) as worker:
        seen = eval(worker.inject("import os; seen = dict(os.environ)"))
        assert set(seen) <= {"TZ", "LC_CTYPE"}
        assert seen["TZ"] == "UTC"


def test_no_descriptor_is_open_but_the_null_ones_and_the_socket(user: Account) -> None:
    reading, writing = os.pipe()
    with intruded(account=user, keep=[reading, writing]) as worker:
        found = worker.inject(
            "k = kernel; seen = [n for n in range(4096) if k.refusal('lseek', n, 0, 1) in (0, 29)]"
        )
        descriptors = eval(found)
        assert descriptors[:3] == [0, 1, 2]
        assert len(descriptors) == 4
        assert worker.layers["process"]
        assert not {reading, writing} & set(descriptors)
    os.close(reading)
    os.close(writing)


def test_without_the_wall_what_was_inherited_could_be_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"secret")
    seen = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import os; print(os.environ['SECRET'], os.read({reading}, 9))"],
        env={"SECRET": "x"},
        pass_fds=[reading],
        capture_output=True,
        check=True,
    )
    assert seen.stdout == b"x b'secret'\n"
    os.close(reading)
    os.close(writing)


def test_without_an_empty_environment_the_intruder_reads_it() -> None:
    with intruded(environment={"SECRET": "x"}) as worker:
        assert worker.inject("import os; seen = os.environ['SECRET']") == "'x'"


def test_variables_in_the_environment_are_a_wall_that_is_missing() -> None:
    with Worker(environment={"AWS_SECRET": "x"}) as worker:
        assert not worker.layers["process"]
        assert "AWS_SECRET" not in worker.evidence("process")


@pytest.mark.parametrize("phrase", [b"", b"run what is injecte", b"run what is injected!", b"yes"])
def test_a_descriptor_that_does_not_say_the_phrase_starts_nothing(phrase: bytes) -> None:
    with pytest.raises(EndedError) as ended:
        Worker(phrase=phrase)
    assert ended.value.status == 2


def test_without_the_descriptor_nothing_can_be_injected() -> None:
    with Worker() as worker:
        worker.send({"inject": "seen = 1"})
        with pytest.raises(EndedError) as ended:
            worker.receive()
        assert ended.value.status == 3


def test_after_its_parent_a_worker_does_not_live(tmp_path: Path) -> None:
    """The parent is killed while the worker is busy, so that only the kernel can end it."""
    program = (
        "import sys, time; from tests.plugins.isolate.worker_harness import *\n"
        "worker = Worker()\n"
        "worker.send({'job': {**JOB, 'source': '() => { for (;;); }'}})\n"
        "print(worker.process.pid, flush=True); time.sleep(100)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
        until = time.monotonic() + 30
        while _runs(pid):
            assert time.monotonic() < until, "the worker outlived its parent"


def _runs(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text("ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
