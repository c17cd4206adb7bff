"""The filter of system calls, run in an evaluator for every call of both machines' tables."""

import errno

import pytest

from ringfence.plugins.isolate.worker.bpf import ALLOW, KILL_PROCESS, Instruction, refuse
from ringfence.plugins.isolate.worker.system_call_filter import ALLOWED, ARCHITECTURES, KILLED, program
from ringfence.plugins.isolate.worker.system_calls import TABLES, numbered
from tests.plugins.isolate import bpf_evaluator

PROCESS = 4711
MACHINES = sorted(TABLES)
BY_ARGUMENT = {"mmap", "mprotect", "pkey_mprotect", "clone", "clone3", "prctl", "tgkill"}
EPERM = refuse(errno.EPERM)
_EXECUTABLE, _READ_WRITE = 7, 3
_THREAD_FLAGS = 0x3D0F00
"""What the C library clones a thread with."""
_FORK_FLAGS = 0x1200011


def verdict(machine: str, name: str, *arguments: int) -> int:
    return bpf_evaluator.said(
        program(machine, PROCESS),
        architecture=ARCHITECTURES[machine],
        number=TABLES[machine][name],
        arguments=arguments,
    )


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_of_the_table_is_allowed_refused_or_killed_as_listed(machine: str) -> None:
    steps = program(machine, PROCESS)
    for name, number in TABLES[machine].items():
        if name in BY_ARGUMENT:
            continue
        seen = bpf_evaluator.said(steps, architecture=ARCHITECTURES[machine], number=number)
        wanted = ALLOW if name in ALLOWED else KILL_PROCESS if name in KILLED else EPERM
        assert seen == wanted, name


@pytest.mark.parametrize("machine", MACHINES)
def test_no_call_is_in_two_lists(machine: str) -> None:
    assert not set(ALLOWED) & set(KILLED)
    assert not BY_ARGUMENT & {*ALLOWED, *KILLED}
    assert set(ALLOWED) <= set(TABLES[machine])


def test_every_name_of_the_lists_is_a_call_of_some_machine() -> None:
    known = {name for table in TABLES.values() for name in table}
    assert {*ALLOWED, *KILLED, *BY_ARGUMENT} <= known


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    "name",
    ["open", "openat", "openat2", "statfs", "stat", "newfstatat", "readlink", "getdents64", "ioctl", "fcntl"],
)
def test_files_are_refused_and_do_not_kill(machine: str, name: str) -> None:
    if name in TABLES[machine]:
        assert verdict(machine, name) == EPERM
    else:
        assert machine == "aarch64"


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["mmap", "mprotect", "pkey_mprotect"])
def test_memory_is_given_without_execution_alone(machine: str, name: str) -> None:
    assert verdict(machine, name, 0, 4096, _READ_WRITE) == ALLOW
    assert verdict(machine, name, 0, 4096, 0) == ALLOW
    for rights in (4, 5, 6, _EXECUTABLE, 1 << 32 | 4):
        assert verdict(machine, name, 0, 4096, rights) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_memory_that_no_limit_counts_is_not_given(machine: str) -> None:
    private, shared, grows_down, stack = 0x22, 0x21, 0x122, 0x20022
    for flags in (private, stack):
        assert verdict(machine, "mmap", 0, 4096, _READ_WRITE, flags) == ALLOW
    for flags in (shared, grows_down, shared | 2, 0x20122):
        assert verdict(machine, "mmap", 0, 4096, _READ_WRITE, flags) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_may_be_made_and_processes_not(machine: str) -> None:
    assert verdict(machine, "clone", _THREAD_FLAGS) == ALLOW
    assert verdict(machine, "clone", _FORK_FLAGS) == KILL_PROCESS
    assert verdict(machine, "clone", 0x10000 << 32) == KILL_PROCESS
    assert verdict(machine, "clone3") == refuse(errno.ENOSYS)


@pytest.mark.parametrize("machine", MACHINES)
def test_only_this_process_may_be_signalled(machine: str) -> None:
    assert verdict(machine, "tgkill", PROCESS, 1, 6) == ALLOW
    assert verdict(machine, "tgkill", PROCESS + 1, 1, 6) == KILL_PROCESS
    assert verdict(machine, "kill", PROCESS, 6) == KILL_PROCESS


@pytest.mark.parametrize("machine", MACHINES)
def test_prctl_names_threads_and_memory_and_nothing_else(machine: str) -> None:
    allowed = [option for option in range(80) if verdict(machine, "prctl", option) == ALLOW]
    assert allowed == [15]
    assert verdict(machine, "prctl", 0x53564D41) == ALLOW
    assert verdict(machine, "prctl", 4, 1) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_that_are_younger_than_the_tables_are_refused(machine: str) -> None:
    steps = program(machine, PROCESS)
    for number in set(range(1024)) - set(TABLES[machine].values()):
        assert bpf_evaluator.said(steps, architecture=ARCHITECTURES[machine], number=number) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_another_architecture_kill(machine: str) -> None:
    others = {*ARCHITECTURES.values(), 0x40000003, 0x40000028} - {ARCHITECTURES[machine]}
    for other in others:
        for number in range(600):
            seen = bpf_evaluator.said(program(machine, PROCESS), architecture=other, number=number)
            assert seen == KILL_PROCESS


def test_calls_of_x32_kill() -> None:
    steps = program("x86_64", PROCESS)
    for number in (0x40000000, 0x40000000 | 1, 0x40000000 | 520, 0xFFFFFFFF):
        assert bpf_evaluator.said(steps, architecture=ARCHITECTURES["x86_64"], number=number) == KILL_PROCESS


@pytest.mark.parametrize("machine", MACHINES)
def test_the_kernel_would_take_the_program(machine: str) -> None:
    assert bpf_evaluator.sound(program(machine, PROCESS))


def test_the_evaluator_refuses_a_jump_out_of_the_program() -> None:
    stray = [Instruction(0x15, 9, 0, 1), Instruction(0x06, 0, 0, ALLOW)]
    assert not bpf_evaluator.sound(stray)
    assert not bpf_evaluator.sound([Instruction(0x20, 0, 0, 0)])


def test_known_numbers_are_the_kernels() -> None:
    x86, arm = TABLES["x86_64"], TABLES["aarch64"]
    assert [x86[name] for name in ("read", "mmap", "execve", "seccomp", "landlock_restrict_self")] == [
        0,
        9,
        59,
        317,
        446,
    ]
    assert [arm[name] for name in ("read", "mmap", "execve", "seccomp", "landlock_restrict_self")] == [
        63,
        222,
        221,
        277,
        446,
    ]
    assert "open" not in arm and "fork" not in arm


def test_a_table_is_runs_of_names() -> None:
    assert numbered("3 a b 9 c") == {"a": 3, "b": 4, "c": 9}
