"""Which system calls the worker may still make, as a BPF program.

What a locked-down isolate needs is allowed; what nobody but an intruder would try ends the process; all
the rest, younger calls included, is refused.  `open` and `statfs` are refused and not killed: V8 and the C
library try `/proc/self/maps` and `/sys` when an isolate begins, and bear the refusal.
"""

import errno
from collections.abc import Iterator, Sequence

from ringfence.plugins.isolate.worker.bpf import (
    ALLOW,
    ARCHITECTURE_AT,
    KILL_PROCESS,
    NUMBER_AT,
    Instruction,
    any_bit,
    at_least,
    equal,
    load,
    load_argument,
    refuse,
    verdict,
)
from ringfence.plugins.isolate.worker.system_calls import TABLES

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""`AUDIT_ARCH_…` of `linux/audit.h`."""

_X32_BIT = 0x40000000
_CLONE_THREAD = 0x00010000
_PROT_EXEC = 4
_PR_SET_NAME, _PR_SET_VMA = 15, 0x53564D41

_ALLOWED = """
futex read write madvise munmap close fstat lseek brk mremap rt_sigaction rt_sigprocmask
rt_sigreturn
sched_yield nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday getpid gettid exit
exit_group
getrusage sigaltstack sched_getaffinity sched_getparam sched_getscheduler restart_syscall
set_robust_list
getrandom membarrier rseq pkey_alloc pkey_free
"""
ALLOWED = tuple(_ALLOWED.split())
"""Whatever their arguments are: memory without execution, threads, time, the one descriptor that is open."""

_KILLED = """
socket socketpair connect bind listen accept accept4 sendto sendmsg sendmmsg recvmsg recvmmsg
execve execveat fork vfork
kill tkill ptrace process_vm_readv process_vm_writev process_madvise kcmp
pidfd_open pidfd_send_signal pidfd_getfd rt_sigqueueinfo rt_tgsigqueueinfo
io_uring_setup io_uring_enter io_uring_register io_setup io_submit
bpf perf_event_open userfaultfd seccomp personality modify_ldt
unshare setns mount umount2 move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr
pivot_root chroot open_by_handle_at name_to_handle_at memfd_create memfd_secret
keyctl add_key request_key
setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset setrlimit
init_module finit_module delete_module kexec_load kexec_file_load
reboot swapon swapoff acct quotactl iopl ioperm
"""
KILLED = tuple(_KILLED.split())
"""No code of ours makes one of these: the process ends at once, and the parent sees by which signal."""

_WITHOUT_EXECUTION = ("mprotect", "pkey_mprotect")
_MAP_SHARED, _MAP_GROWSDOWN = 0x01, 0x0100


def program(machine: str, process: int) -> tuple[Instruction, ...]:
    """Return the filter for one machine and one process id; the machine must be in the tables."""
    numbers = TABLES[machine]
    refused = verdict(refuse(errno.EPERM))
    steps: list[Instruction] = [
        load(ARCHITECTURE_AT),
        *_unless_equal(ARCHITECTURES[machine], verdict(KILL_PROCESS)),
        load(NUMBER_AT),
    ]
    if machine == "x86_64":
        # SECURITY: the x32 calls share the architecture's word and have numbers of their own.
        steps += at_least(_X32_BIT, [verdict(KILL_PROCESS)])
    # INVARIANT: a rule that takes an argument ends in a verdict on every path, so the number stays loaded.
    for name, conditions in _rules(process, refused):
        steps += equal(numbers[name], conditions)
    for name in KILLED:
        if name in numbers:
            steps += equal(numbers[name], [verdict(KILL_PROCESS)])
    return (*steps, refused)


def _rules(process: int, refused: Instruction) -> Iterator[tuple[str, Sequence[Instruction]]]:
    allowed, killed = verdict(ALLOW), verdict(KILL_PROCESS)
    for name in ALLOWED:
        yield name, [allowed]
    # SECURITY: the limit of data counts neither memory that is shared nor memory that grows down.
    counted = [load_argument(3), *any_bit(_MAP_SHARED | _MAP_GROWSDOWN, [refused]), allowed]
    yield "mmap", [load_argument(2), *any_bit(_PROT_EXEC, [refused]), *counted]
    for name in _WITHOUT_EXECUTION:
        yield name, [load_argument(2), *any_bit(_PROT_EXEC, [refused]), allowed]
    yield "clone", [load_argument(0), *any_bit(_CLONE_THREAD, [allowed]), killed]
    # its flags lie in memory, where no filter can look; the C library falls back to `clone`
    yield "clone3", [verdict(refuse(errno.ENOSYS))]
    names = [*equal(_PR_SET_NAME, [allowed]), *equal(_PR_SET_VMA, [allowed])]
    yield "prctl", [load_argument(0), *names, refused]
    # V8 ends itself by a signal to its own thread when memory runs out
    yield "tgkill", [load_argument(0), *equal(process, [allowed]), killed]


def _unless_equal(value: int, otherwise: Instruction) -> list[Instruction]:
    step = equal(value, [])[0]
    return [Instruction(step.code, 1, 0, value), otherwise]
