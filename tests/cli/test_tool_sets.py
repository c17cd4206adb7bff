"""`--tools WHAT`: one reader of tool sets, which imports no framework but the one that is asked for."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ringfence.cli.exits import CommandError
from ringfence.cli.tool_sets import read_tools

ROOT = Path(__file__).parents[2]
ADD = {"name": "add", "description": "Adds.", "inputSchema": {"type": "object", "properties": {"a": {}}}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "found",
    [
        [ADD],
        {"tools": [ADD]},
        {"jsonrpc": "2.0", "id": 1, "result": {"tools": [ADD], "nextCursor": None}},
        [{"type": "function", "function": {**ADD, "parameters": ADD["inputSchema"]}}],
    ],
)
def test_a_file_holds_tools_as_a_server_or_a_request_has_them(folder: Path, found: Any) -> None:
    (folder / "tools.json").write_text(json.dumps(found))
    tool = read_tools(["tools.json"])["add"]
    assert (tool.name, tool.description, tool.schema, tool.own) == ("add", "Adds.", ADD["inputSchema"], False)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "cannot be read"),
        ("{}", "holds no list of tools"),
        ('{"tools": 5}', "holds no list of tools"),
        ("[5]", "a tool without a name"),
        ('[{"name": 5}]', "a tool without a name"),
        ('[{"name": ""}]', "whose name is empty"),
        (json.dumps([{"name": "x" * 1001}]), "longer than 1000"),
        ('[{"name": "\\ud800"}]', "whose name is no text"),
        ('[{"name": "a"}, {"name": "a"}]', "a second tool called `a`"),
        ('[{"name": "a", "name": "b"}]', "a name stands twice"),
        ("[" * 100_000, "cannot be read"),
        ("\xff", "cannot be read"),
    ],
)
def test_a_file_that_holds_no_set_of_tools_is_refused(folder: Path, text: str, why: str) -> None:
    (folder / "tools.json").write_text(text, encoding="latin-1")
    with pytest.raises(CommandError, match=why):
        read_tools(["tools.json"])


def test_a_file_that_is_too_large_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringfence.cli.tool_sets.files._MOST_BYTES", 100)
    (folder / "tools.json").write_text(" " * 101)
    with pytest.raises(CommandError, match="larger than 100 bytes"):
        read_tools(["tools.json"])


def test_several_sets_are_one(folder: Path) -> None:
    (folder / "one.json").write_text('[{"name": "a"}]')
    (folder / "two.json").write_text('[{"name": "b"}]')
    assert list(read_tools(["one.json", "two.json"])) == ["a", "b"]


def test_a_module_of_the_folder_is_found_and_what_it_prints_is_no_data(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "my_own_tools.py").write_text("print('hello')\ndef look(a: int) -> int: ...\ndef see(): ...\n")
    before = list(sys.path)
    assert list(read_tools(["python:my_own_tools:look, see"])) == ["look", "see"]
    assert capsys.readouterr().out == ""
    assert sys.path == before


@pytest.mark.parametrize(
    ("source", "what", "why"),
    [
        ("", "python:raising_tools", "names no module and no tools"),
        ("", "python:raising_tools:gone", "AttributeError"),
        ("raise SystemExit(3)", "python:raising_tools:x", "SystemExit"),
        ("1 / 0", "langchain:raising_tools:x", "ZeroDivisionError"),
        ("x = 5", "python:raising_tools:x", "no function"),
        ("x = [{}]", "langchain:raising_tools:x", "a tool without a name"),
        ("x = [object()]", "openai-agents:raising_tools:x", "no tool"),
        ("x = [5]", "pydantic-ai:raising_tools:x", "neither a tool nor a toolset"),
        ("", "python:no_such_module_here:x", "ModuleNotFoundError"),
        ("", "mcp:", "either a command or a url"),
        ("", "mcp:'", "cannot be read"),
        ("", "mcp:/no/such/command", "No such file"),
    ],
)
def test_what_gives_no_tools_is_a_sentence(
    folder: Path, source: str, what: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "raising_tools.py").write_text(source)
    monkeypatch.delitem(sys.modules, "raising_tools", raising=False)
    with pytest.raises(CommandError, match=why) as raised:
        read_tools([what])
    assert raised.value.help
    sys.modules.pop("raising_tools", None)


_FRAMEWORKS = "langchain_core mcp pydantic_ai agents"
_WITHOUT = """
import sys
for name in {missing!r}.split():
    sys.modules[name] = None
from ringfence.__main__ import main
code = main({words!r})
loaded = [name for name in {frameworks!r}.split() if sys.modules.get(name) is not None]
print(code, *loaded)
"""


def _alone(folder: Path, missing: str, *words: str) -> subprocess.CompletedProcess[str]:
    script = _WITHOUT.format(missing=missing, words=list(words), frameworks=_FRAMEWORKS)
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_no_framework_is_imported_that_is_not_asked_for(folder: Path) -> None:
    (folder / "tools.json").write_text('[{"name": "a"}]')
    (folder / "own.py").write_text("def get_x(): ...\n")
    ran = _alone(
        folder, "", "init", "--tools", "tools.json", "--tools", "python:own:get_x", "--out", "a.fence"
    )
    assert ran.stdout == "0\n", ran.stderr


@pytest.mark.parametrize(
    ("package", "what", "extra"),
    [
        ("langchain_core", "langchain:own:x", "langchain"),
        ("pydantic_ai", "pydantic-ai:own:x", "pydantic-ai"),
        ("agents", "openai-agents:own:x", "openai-agents"),
        ("mcp", "mcp:server", "mcp"),
    ],
)
def test_a_missing_extra_is_told_with_what_to_install(
    folder: Path, package: str, what: str, extra: str
) -> None:
    ran = _alone(folder, package, "init", "--tools", what)
    assert ran.stdout == "1\n", ran.stderr
    assert f'help: pip install "ringfence[{extra}]"' in ran.stderr
    assert "Traceback" not in ran.stderr
