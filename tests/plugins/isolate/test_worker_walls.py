"""How the worker puts its walls up, what it says of them, and what it says where the system has none."""

import errno
import sys

import pytest

from ringfence.plugins.isolate.worker import flags, landlock, namespaces, options, privileges, seccomp
from ringfence.plugins.isolate.worker.failure import of_syntax
from ringfence.plugins.isolate.worker.kernel import Kernel
from ringfence.plugins.isolate.worker.layers import Layer
from tests import walls
from tests.plugins.isolate.accounts import ROOT, SITE
from tests.plugins.isolate.worker_harness import JOB, Worker

pytest.importorskip("py_mini_racer")

ALL = {
    "process",
    "no new privileges",
    "dies with parent",
    "not dumpable",
    "namespaces",
    "no capabilities",
    "limits",
    "Landlock",
    "seccomp",
    "V8 flags",
}


NEEDED_BY = {"no new privileges": ("Landlock", "seccomp")}
"""The kernel takes a filter only from who can gain nothing by a program that it starts."""


class WithoutCalls(Kernel):
    """A kernel that refuses some calls, as an old or a shut one does."""

    def __init__(self, refused: dict[str, int]) -> None:
        super().__init__()
        self.refused = refused
        self.made: list[str] = []

    def call(self, name: str, *arguments: int) -> int:
        self.made.append(name)
        raise OSError(self.refused.get(name, errno.EPERM), "refused")


def test_here_every_wall_stands_and_says_why() -> None:
    walls.needed()
    with Worker() as worker:
        assert worker.layers == dict.fromkeys(ALL, True), worker.ready
        assert all(evidence for _, _, evidence in worker.ready["layers"])
        assert worker.ready["pid"] == worker.process.pid
        assert worker.ready["v8"].split(".")[0].isdecimal()


def test_the_report_names_no_path_of_the_machine() -> None:
    with Worker() as worker:
        for _, _, evidence in worker.ready["layers"]:
            for path in (str(ROOT), "site-packages", sys.prefix):
                assert path not in evidence


@pytest.mark.parametrize("name", sorted(options.LEAVABLE))
def test_a_worker_that_lacks_one_wall_says_so_and_works(name: str) -> None:
    walls.needed()
    with Worker(leave_out=[name]) as worker:
        missing = {name, *NEEDED_BY.get(name, ())}
        assert {layer for layer, holds in worker.layers.items() if not holds} == missing
        assert set(worker.layers) == ALL
        assert worker.evidence(name) == "left out, as the worker was told"
        assert worker.result("() => 1") == 1


@pytest.mark.parametrize(
    ("code", "evidence"),
    [
        (errno.ENOSYS, "this kernel has none (Linux 5.13 has)"),
        (errno.EOPNOTSUPP, "switched off when the machine was started (`lsm=`)"),
        (errno.EPERM, f"the system refused it: refused ({errno.EPERM})"),
    ],
)
def test_a_kernel_without_landlock_is_said_to_have_none(code: int, evidence: str) -> None:
    kernel = WithoutCalls({"landlock_create_ruleset": code})
    assert landlock.shut_files(kernel) == Layer("Landlock", False, evidence)


def test_a_machine_without_namespaces_still_leaves_the_network_if_it_may() -> None:
    kernel = WithoutCalls({"unshare": errno.EPERM})
    assert not namespaces.own_namespaces(kernel).holds
    assert kernel.made == ["unshare", "unshare"]


@pytest.mark.parametrize(
    "layer",
    [
        privileges.no_new_privileges,
        privileges.dies_with_parent,
        privileges.not_dumpable,
        privileges.no_capabilities,
        seccomp.fatal_attempts,
        landlock.shut_files,
        namespaces.own_namespaces,
    ],
)
def test_what_the_system_refuses_is_a_wall_that_is_missing(layer: object) -> None:
    assert callable(layer)
    seen = layer(WithoutCalls({}))
    assert not seen.holds and seen.evidence


def test_a_filter_that_was_not_tried_is_not_put_up() -> None:
    kernel = WithoutCalls({})
    tried = Layer("seccomp", False, "a child outlived: socket")
    assert seccomp.filter_calls(kernel, tried) is tried
    assert kernel.made == []


@pytest.mark.parametrize("machine", ["riscv64", "darwin", "win32"])
def test_a_machine_without_a_table_has_no_filter_and_no_landlock(machine: str) -> None:
    kernel = Kernel()
    kernel.machine, kernel.numbers = machine, {}
    assert not seccomp.fatal_attempts(kernel).holds
    assert not landlock.shut_files(kernel).holds
    assert kernel.refusal("getpid") == errno.ENOSYS


@pytest.mark.parametrize(
    ("abi", "words"),
    [
        (1, ((1 << 13) - 1,)),
        (2, ((1 << 14) - 1,)),
        (3, ((1 << 15) - 1,)),
        (4, ((1 << 15) - 1, 3)),
        (5, ((1 << 16) - 1, 3)),
        (6, ((1 << 16) - 1, 3, 3)),
        (9, ((1 << 16) - 1, 3, 3)),
    ],
)
def test_landlock_is_asked_for_what_its_abi_knows(abi: int, words: tuple[int, ...]) -> None:
    assert landlock.ruleset(abi) == words


GOOD = (
    '{"generated":false,"wasm":"undefined","shared":"undefined","temporal":"undefined",'
    '"offset":0,"chance":%s}'
)


@pytest.mark.parametrize(
    ("answers", "heap", "missing"),
    [
        ([GOOD % 1, GOOD % 1], 32 << 20, ""),
        ([GOOD % 1, GOOD % 2], 32 << 20, "seed"),
        ([GOOD.replace("false", "true") % 1] * 2, 32 << 20, "generated"),
        ([GOOD.replace('"wasm":"undefined"', '"wasm":"object"') % 1] * 2, 32 << 20, "wasm"),
        ([GOOD.replace('"offset":0', '"offset":-60') % 1] * 2, 32 << 20, "offset"),
        ([GOOD % 1, GOOD % 1], 4 << 30, "heap"),
        (["null", "null"], 32 << 20, "generated, wasm, shared, temporal, offset, seed"),
        ([5, 5], 32 << 20, "generated, wasm, shared, temporal, offset, seed"),
    ],
)
def test_a_flag_without_effect_is_found(answers: list[object], heap: int, missing: str) -> None:
    said = iter(answers)
    layer = flags.proved(lambda _: next(said), heap, 32 << 20)
    assert layer.holds is not bool(missing)
    if missing:
        assert layer.evidence == f"without effect: {missing}"


BOGUS_FLAG = """
import sys; sys.path.insert(0, {site!r})
from py_mini_racer import init_mini_racer
from ringfence.plugins.isolate.worker import flags, isolate
wanted = list(flags.wanted_flags(32 << 20))
wanted.insert({at}, "--no-such-flag")
init_mini_racer(flags=wanted)
isolate.stand_in_loop()
heap = isolate.Ground().heap_limit_bytes()
print(flags.proved(isolate.evaluated_afresh, heap, 32 << 20).holds, flush=True)
import os; os._exit(0)
"""


@pytest.mark.parametrize("at", [1, 5, 8])
def test_a_flag_that_v8_does_not_know_is_found_by_what_it_took_with_it(at: int) -> None:
    import subprocess

    source = BOGUS_FLAG.format(at=at, site=SITE)
    ran = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=120, check=True, env=_found()
    )
    assert ran.stdout == "False\n"
    assert "unrecognized flag" in ran.stderr


def _found() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"memory_bytes": 0}',
        '{"memory_bytes": "1"}',
        '{"memory_bytes": true}',
        '{"memory_bytes": 1, "extra": 1}',
        '{"memory_bytes": 1, "leave_out": ["process"]}',
        '{"memory_bytes": 1, "leave_out": "seccomp"}',
        '{"memory_bytes": 1, "leave_out": [["seccomp"]]}',
        '{"memory_bytes": 1, "injection": "3"}',
        '{"memory_bytes": 1, "cpu_seconds": -1}',
    ],
)
def test_options_that_are_not_exactly_understood_start_nothing(text: str) -> None:
    with pytest.raises(options.OptionsError):
        options.read(text)


def test_a_worker_has_memory_by_its_class() -> None:
    source = "() => { const kept = []; while (kept.push(new Uint8Array(1 << 20).fill(1)) < 150); }"
    with Worker(memory_bytes=256 << 20) as large:
        assert large.run(source, memory_bytes=256 << 20) == {"done": {"result": "null"}}
    with Worker(memory_bytes=32 << 20) as small:
        assert small.failure(source)[0] == "memory"


def test_processor_time_of_a_whole_life_has_an_end() -> None:
    with Worker(cpu_seconds=2) as worker:
        worker.send({"job": {**JOB, "source": "() => { for (;;); }"}})
        assert worker.process.wait(60) in (-9, -24)


@pytest.mark.parametrize(
    ("report", "line", "column"),
    [
        ("<anonymous>:3: SyntaxError: Bad\nxx\n ^\n\n", 2, 2),
        ("<anonymous>:9: SyntaxError: Bad\nxx\n ^\n\n", 2, None),
        ("nothing of the kind", None, None),
    ],
)
def test_the_place_of_a_syntax_error_lies_in_the_source(
    report: str, line: int | None, column: int | None
) -> None:
    failure = of_syntax(report, 2)
    assert (failure.line, failure.column) == (line, column)
