"""JavaScript as it is often run for a model: in node, on the host, with every tool that the agent has."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.tools import BaseTool, tool

_AROUND = """
const answers = require("readline").createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (what) => process.stdout.write(JSON.stringify(what) + "\\n");
const tools = new Proxy({}, { get: (_, name) => async (args) => {
  say({ name, args });
  return JSON.parse((await answers.next()).value);
} });
(async () => {
%s
})().then((result) => say({ result: result ?? null }), (error) => say({ result: String(error) }));
"""
"""The code of a model, in its middle, writes the calls that it makes to its output, a line each."""


def node() -> str | None:
    """Return where node is, if it is installed."""
    return shutil.which("node")


class Node:
    """The tool `run_js` of an agent without a guard."""

    def __init__(self, program: str, folder: Path, tools: Sequence[BaseTool]) -> None:
        """Nothing is started yet.

        Args:
            folder: Where node runs.
            tools: What the code may call.
        """
        self._program = program
        self._folder = folder
        self._tools: Mapping[str, BaseTool] = {tool.name: tool for tool in tools}
        self._running: subprocess.Popen[str] | None = None
        self._over = False

    def tool(self) -> BaseTool:
        """Return the tool for an agent."""

        @tool
        def run_js(code: str) -> Any:
            """Run JavaScript."""
            return self._run(code)

        return run_js

    def kill(self) -> None:
        """End what still runs."""
        self._over = True
        if self._running is not None:
            self._running.kill()

    def _run(self, code: str) -> Any:
        with subprocess.Popen(
            [self._program, "-e", _AROUND % code],
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as running:
            self._running = running
            assert running.stdin is not None and running.stdout is not None
            try:
                for line in running.stdout:
                    said = json.loads(line)
                    if "result" in said:
                        return said["result"]
                    answer = self._tools[said["name"]].invoke(said["args"])
                    print(json.dumps(answer), file=running.stdin, flush=True)
            finally:
                running.kill()
        return "killed" if self._over else "node ended without a result"
