"""Where the judges' programs are, and processes of them that end with the block."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).parents[4]
NODE = CHECKOUT / ".node-mcp" / "node_modules"
SUITE = NODE / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
REFERENCE = NODE / "@modelcontextprotocol"
_STARTS_S = 60.0


def node() -> str:
    """Return Node 22 or newer: the one in `.node-mcp`, else the machine's."""
    own = NODE / "node" / "bin" / "node"
    return str(own) if own.exists() else "node"


def require_packages() -> None:
    """End with a sentence if the packages are not there."""
    if not SUITE.exists():
        sys.exit("the judges' packages are not installed: run `make test-mcp`")


def environment() -> dict[str, str]:
    """Return ours, in which the checkout's modules are found."""
    return {**os.environ, "PYTHONPATH": f"{CHECKOUT / 'src'}{os.pathsep}{CHECKOUT}"}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def serving(command: Sequence[str], port: int, log: Path) -> Iterator[str]:
    """Run a server over HTTP; yield its address once it accepts connections."""
    with log.open("wb") as said:
        process = subprocess.Popen(command, env=environment(), cwd=CHECKOUT, stdout=said, stderr=said)
        try:
            _wait_until_it_listens(process, port, log)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _wait_until_it_listens(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    ends = time.monotonic() + _STARTS_S
    while time.monotonic() < ends:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the server never listened: {log.read_text(errors='replace')[-2_000:]}")


def gateway(policy: Path, store: Path, *more: str) -> list[str]:
    """Return the command line of a gateway, without its servers."""
    command = [sys.executable, "-m", "ringfence", "mcp", "--policy", str(policy)]
    return [*command, "--store", f"sqlite:///{store}", *more]


EVERYTHING = [sys.executable, "-m", "tests.adapters.mcp.everything"]
