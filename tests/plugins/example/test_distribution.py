"""The example plugins as a user meets them: wheels, a fresh environment, entry points."""

import json
import os
import shutil
import subprocess
import venv
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "plugins"

NOT_ALLOWED = """
import json, sys
from ringfence.engine.seams.dispatch import Extensions
from ringfence.engine.seams.errors import SettingsError
from ringfence.engine.seams.registry import plugins_report
from ringfence.engine.seams.settings import Settings

rows = {row.name: row for row in plugins_report()}
try:
    Extensions.assemble(Settings.of({"sinks": {"jsonlines": {"path": "audit.jsonl"}}}), builtins={})
    refused = None
except SettingsError as error:
    refused = error.diagnostics()
print(json.dumps({
    "distributions": [rows[name].distribution for name in ("chat", "jsonlines")],
    "active": [rows[name].active for name in ("chat", "jsonlines")],
    "why_not": rows["jsonlines"].why_not,
    "refused": refused,
    "imported": [name for name in sys.modules if name.startswith("ringfence_example_plugins")],
}))
"""

ALLOWED = """
import asyncio, json, sys
from ringfence.engine.seams.dispatch import Extensions
from ringfence.engine.seams.ports import Entry
from ringfence.engine.seams.settings import Settings

extensions = Extensions.assemble(Settings.load("ringfence.toml"), builtins={})

async def main():
    await extensions.open()
    body = b'{"text":"hi"}'
    await extensions.write([Entry("run-1", 1, "PromptGiven", 1, 5, 6, b"", body, b"", b"", b"\\xab")])
    await extensions.close()

asyncio.run(main())
rows = {row.name: row for row in extensions.plugins_report()}
print(json.dumps({
    "active": [rows[name].active for name in ("chat", "jsonlines")],
    "hooks": list(rows["jsonlines"].hooks),
    "version": rows["jsonlines"].version,
    "imported": sorted(name for name in sys.modules if name.startswith("ringfence_example_plugins")),
}))
"""


class Environment:
    """A virtual environment of its own, which knows nothing of the checkout."""

    def __init__(self, place: Path) -> None:
        self.place = place
        venv.create(place / "venv", with_pip=True)
        self.python = place / "venv" / "bin" / "python"
        self.folder = place / "work"
        self.folder.mkdir()

    def run(self, *arguments: str, **variables: str) -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            [str(self.python), *arguments],
            cwd=self.folder,
            env={**clean, **variables},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{arguments[:3]}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def told(self, script: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run("-c", script))
        return answer


@pytest.mark.timeout(900)
def test_installed_plugins_are_found_refused_until_allowed_and_keep_their_contracts(tmp_path: Path) -> None:
    fresh = Environment(tmp_path)
    _install(fresh)

    before = fresh.told(NOT_ALLOWED)
    assert before["distributions"] == ["ringfence-example-plugins"] * 2, "found by their entry points"
    assert before["active"] == [False, False]
    assert before["imported"] == [], "a plugin that is not allowed is not even imported"
    assert "not allowed" in before["why_not"] and "`plugins`" in before["why_not"]
    assert "there is no sink `jsonlines`" in before["refused"]

    (fresh.folder / "ringfence.toml").write_text(
        'plugins = ["jsonlines"]\n[sinks.jsonlines]\nrequired = true\npath = "audit.jsonl"\n'
    )
    after = fresh.told(ALLOWED)
    assert after["active"] == [False, True], "only what is allowed"
    assert after["hooks"] == ["ringfence_audit_sinks"] and after["version"] == "0.1.0"
    assert after["imported"] == ["ringfence_example_plugins", "ringfence_example_plugins.jsonlines"]
    (line,) = (fresh.folder / "audit.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "run-1:1" and json.loads(line)["body"] == {"text": "hi"}

    for name in ("tests", "pyproject.toml"):
        _copy(EXAMPLE / name, fresh.folder / "example" / name)
    report = fresh.folder / "report.xml"
    fresh.run("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "example")
    written = report.read_text()
    assert 'failures="0"' in written and 'errors="0"' in written and 'skipped="0"' in written
    for contract in ("TestJsonLinesSink", "TestChatBackend"):
        assert written.count(f'.{contract}" name="test_') >= 12, "the whole contract ran"


def _install(fresh: Environment) -> None:
    wheels = fresh.place / "wheels"
    for source in (ROOT, EXAMPLE):
        fresh.run("-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(wheels), str(source))
    (ringfence,) = wheels.glob("ringfence-*.whl")
    (example,) = wheels.glob("ringfence_example_plugins-*.whl")
    fresh.run("-m", "pip", "install", "-q", str(ringfence), f"{example}[test]")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def test_the_example_uses_the_public_door_only() -> None:
    said = [
        line.strip()
        for file in (EXAMPLE / "src").rglob("*.py")
        for line in file.read_text().splitlines()
        if line.startswith(("from ringfence.", "import ringfence", "from ringfence "))
    ]
    assert said and all(line.startswith("from ringfence.plugin import") for line in said)
