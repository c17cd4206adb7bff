"""`ringfence.plugin` is the whole door: documented, complete, and used by Ringfence's own plugins."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import ringfence.plugin
from ringfence.engine.seams.hookspecs import ApprovalBackend, AuditSink, Event, Hooks, Question
from ringfence.engine.seams.registry import HOOKS

ROOT = Path(__file__).parents[3]
TESTS_OF_HOOKS = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_typed_documented_and_tested(hook: str) -> None:
    function = getattr(Hooks, hook)
    assert (inspect.getdoc(function) or "").startswith("Return ")
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not p.empty for p in signature.parameters.values() if p.name != "self")
    assert f"def {hook}(" in TESTS_OF_HOOKS


@pytest.mark.parametrize("kind", [Event, Question])
def test_every_field_says_what_it_is(kind: type) -> None:
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    for field, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign):
            told = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            assert told, f"{kind.__name__}.{ast.unparse(field.target)} has no docstring"


@pytest.mark.parametrize("kind", [AuditSink, ApprovalBackend])
def test_every_method_of_a_base_class_says_what_it_must_do(kind: type) -> None:
    methods = [value for name, value in vars(kind).items() if inspect.isfunction(value) and name[0] != "_"]
    assert methods and all(inspect.getdoc(method) for method in methods)


def test_every_public_name_is_there_and_sorted() -> None:
    names = ringfence.plugin.__all__
    assert all(hasattr(ringfence.plugin, name) for name in names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "room", sorted(path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py"))
)
def test_built_in_plugins_use_the_public_door_only(room: str) -> None:
    own = f"ringfence.plugins.{room}"
    for file in (ROOT / "plugins" / room).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.split(".")[0] == "ringfence":
                    inside = name == own or name.startswith(own + ".")
                    assert inside or name == "ringfence.plugin", f"{file.name} imports {name}"


def test_the_pytest_plugin_loads_nothing_until_a_fixture_is_asked_for() -> None:
    """pytest loads it in every run of every user."""
    script = (
        "import sys, pytest\n"
        "import ringfence.testing.pytest_plugin\n"
        "print([name for name in sys.modules if name.startswith('ringfence')"
        " or name in ('pydantic', 'pluggy', 'lark', 'asyncio', 'sqlite3')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout))
    base = subprocess.run(
        [sys.executable, "-c", "import sys, pytest; print(list(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded - set(ast.literal_eval(base.stdout)) == {
        "ringfence",
        "ringfence.testing",
        "ringfence.testing.pytest_plugin",
    }
