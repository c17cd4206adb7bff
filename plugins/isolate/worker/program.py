"""The worker's life: lock down, prove it, report, then one job after the other, each in a fresh isolate.

The order matters.  What needs one thread or files comes before V8's isolates; V8 reads its files when it
begins, before files are shut; limits of data are counted from there; the filter of system calls is last.
A wall that does not stand is reported and never stops the worker: its parent decides what it may be used for.
"""

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ringfence.plugins.isolate.frames import FrameError
from ringfence.plugins.isolate.worker import (
    flags,
    injected,
    landlock,
    limits,
    namespaces,
    options,
    privileges,
    seccomp,
    surroundings,
)
from ringfence.plugins.isolate.worker import job as jobs
from ringfence.plugins.isolate.worker.channel import Channel
from ringfence.plugins.isolate.worker.failure import Failure
from ringfence.plugins.isolate.worker.job import JobError
from ringfence.plugins.isolate.worker.kernel import Kernel
from ringfence.plugins.isolate.worker.layers import Layer, left_out

_BROKEN = 1
_BAD_START = 2
_BAD_FRAME = 3
_CLOSURE = ctypes.CFUNCTYPE(None)


@dataclass(frozen=True, slots=True)
class Folders:
    """What is read before files are shut."""

    site: str
    """Where mini-racer is."""
    own: str


def main(arguments: list[str]) -> NoReturn:
    """Serve the parent until it closes its end.

    Args:
        arguments: The descriptor of the socket, mini-racer's site folder, our own, the options as JSON.
    """
    try:
        descriptor, site, folder, said = arguments
        wanted = options.read(said)
        channel = Channel(int(descriptor))
        injecting = injected.wanted(wanted.injection)
    except (ValueError, OSError):  # nobody who may start a worker starts it so; there is nobody to tell
        os._exit(_BAD_START)
    try:
        _serve(channel, wanted, Folders(site, folder), int(descriptor), injecting)
    except FrameError:  # the parent is not one to work for
        os._exit(_BAD_FRAME)
    except SystemExit:  # the parent has closed its end
        os._exit(0)
    except BaseException:  # a worker that does not understand itself ends; the parent sees the status
        os._exit(_BROKEN)
    os._exit(_BROKEN)


def _serve(
    channel: Channel, wanted: options.Options, folders: Folders, descriptor: int, injecting: bool
) -> None:
    os.environ["TZ"] = "UTC"
    prelude = Path(folders.own, "prelude.js").read_text("utf-8")
    kernel = Kernel()
    layers, anchor = _locked_down(kernel, wanted, folders.site, descriptor)
    from ringfence.plugins.isolate.worker.isolate import Ground, Isolate, evaluated_afresh
    from ringfence.plugins.isolate.worker.run import answered

    ground = Ground()
    layers.append(flags.proved(evaluated_afresh, ground.heap_limit_bytes(), wanted.memory_bytes))
    isolate = Isolate(prelude)
    report = [[layer.name, layer.holds, layer.evidence] for layer in layers]
    gc.collect()
    gc.freeze()  # what is there now stays; only what a job leaves has to be looked at
    channel.send({"ready": {"v8": ground.version(), "layers": report, "pid": os.getpid()}})
    while True:
        frame = channel.receive()
        if injecting and set(frame) == {"inject"}:
            names: dict[str, object] = {"kernel": kernel, "anchor": anchor}
            channel.send({"injected": injected.run(frame["inject"], names)})
            continue
        if set(frame) != {"job"}:
            raise FrameError("no job")
        try:
            job = jobs.read(frame["job"])
        except JobError as error:  # said to the parent
            channel.send(Failure("executor", f"{error}").frame())
            continue
        channel.send(answered(isolate, job, channel))
        # INVARIANT: no job ever sees an isolate that another one was in.
        isolate.close()
        isolate = Isolate(prelude)


def _locked_down(
    kernel: Kernel, wanted: options.Options, site: str, descriptor: int
) -> tuple[list[Layer], object]:
    layers = [surroundings.own_process({descriptor})]

    def put_up(name: str, layer: Callable[[], Layer]) -> Layer:
        built = left_out(name) if name in wanted.leave_out else layer()
        layers.append(built)
        return built

    put_up("no new privileges", lambda: privileges.no_new_privileges(kernel))
    put_up("namespaces", lambda: namespaces.own_namespaces(kernel))
    put_up("no capabilities", lambda: privileges.no_capabilities(kernel))
    # the kernel forgets both when what a process may do changes
    put_up("dies with parent", lambda: privileges.dies_with_parent(kernel))
    put_up("not dumpable", lambda: privileges.not_dumpable(kernel))
    filtered = "seccomp" not in wanted.leave_out
    # while the process is still small, as each try is a child
    tried = seccomp.fatal_attempts(kernel) if filtered else left_out("seccomp")
    _begin_v8(site, wanted.memory_bytes)
    bounded = put_up("limits", lambda: limits.bound(kernel, wanted.memory_bytes, wanted.cpu_seconds))
    put_up("Landlock", lambda: landlock.shut_files(kernel))
    # Each isolate needs a closure of ctypes, which lies in executable memory: one page of them is made while
    # that is still allowed, and one closure keeps it; the others are what isolates will use.
    anchor = [_CLOSURE(lambda: None) for _ in range(64)]
    del anchor[1:]
    if bounded.holds:
        limits.no_more_descriptors()
    put_up("seccomp", lambda: seccomp.filter_calls(kernel, tried))
    return layers, anchor


def _begin_v8(site: str, memory_bytes: int) -> None:
    sys.path.append(site)
    from py_mini_racer import init_mini_racer

    from ringfence.plugins.isolate.worker import isolate, run

    assert run is not None
    sys.path.remove(site)
    init_mini_racer(flags=flags.wanted_flags(memory_bytes))
    isolate.stand_in_loop()
