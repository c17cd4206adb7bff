"""`import ringfence` is cheap, and what was queued is written at the interpreter's end."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.guards import ALICE, make_guard

ROOT = Path(__file__).parent.parent


def python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_neither_pydantic_nor_a_framework() -> None:
    out = python(
        "import sys, ringfence; print([m for m in ('pydantic', 'langchain_core', 'lark', 'asyncio', 'pluggy')"
        " if m in sys.modules])"
    )
    assert out == "[]\n"


def test_loading_a_policy_asks_no_parser_generator() -> None:
    out = python(
        "import sys; from ringfence.dsl.load import load; print(load('examples/blog.fence').valid)\n"
        "print([m for m in ('lark', 'asyncio', 'pydantic') if m in sys.modules])"
    )
    assert out == "True\n[]\n"


def test_a_check_without_settings_loads_nothing_that_reads_settings_or_waits(tmp_path: Path) -> None:
    out = python(
        "import os, sys; from ringfence.__main__ import main\n"
        "file = os.path.abspath('examples/blog.fence'); os.chdir(sys.argv[1])\n"
        "assert main(['check', file]) == 0\n"
        "print([m for m in ('lark', 'asyncio', 'pydantic') if m in sys.modules])",
        str(tmp_path),
    )
    assert out.endswith("\n[]\n")


def test_a_check_with_settings_loads_nothing_that_only_their_mistakes_need(tmp_path: Path) -> None:
    """Nor the parts of the engine that stores and plugins live in."""
    shutil.copy(ROOT / "examples/blog.fence", tmp_path / "blog.fence")
    (tmp_path / "ringfence.toml").write_text(
        'policy = "blog.fence"\nplugins = "x"\n[groups]\nleads = ["dana"]\n[approvals]\nleads = "terminal"\n'
        "[sinks.x]\nrequired = false\n[secrets]\nnames = 'password'\n[limits]\nqueue_events = 5\n"
    )
    for command in ("check", "explain", "blast"):
        out = python(
            "import os, sys; from ringfence.__main__ import main; os.chdir(sys.argv[1])\n"
            f"assert main(['{command}', 'blog.fence']) == 0\n"
            "print([m for m in ('lark', 'asyncio', 'pydantic', 'pluggy') if m in sys.modules])",
            str(tmp_path),
        )
        assert out.endswith("\n[]\n")


def test_reading_a_log_loads_neither_the_guard_nor_the_language(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/ringfence.db"
    guard = make_guard(store=store)
    guard.end_run(guard.begin_run(principal=ALICE, agent="main", session="s"))
    guard.close()
    for words in (["runs"], ["show", "last"], ["verify"], ["stats"]):
        out = python(
            "import sys; from ringfence.__main__ import main\n"
            "assert main(sys.argv[1:]) == 0\n"
            "print([m for m in ('ringfence.engine.enforcement', 'ringfence.dsl.load') if m in sys.modules])",
            *words,
            "--store",
            store,
        )
        assert out.endswith("\n[]\n"), words


def test_making_a_guard_loads_nothing_of_opentelemetry() -> None:
    out = python(
        "import sys; from tests.guards import make_guard; make_guard()\n"
        "print([m for m in ('opentelemetry.sdk', 'opentelemetry.proto', 'google.protobuf', 'requests')"
        " if m in sys.modules])"
    )
    assert out == "[]\n"


def test_every_public_name_is_there() -> None:
    out = python("import ringfence; print(all(getattr(ringfence, name) for name in ringfence.__all__))")
    assert out == "True\n"


def test_events_that_are_queued_are_written_at_the_normal_end_of_the_process(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/ringfence.db"
    code = """
import sys
from tests.guards import ALICE, call, make_guard
guard = make_guard(store=sys.argv[1])
run = guard.begin_run(principal=ALICE, agent="main", session="s")
guard.execute(run, call("look", what="x"), dict)
print(run.id)
"""
    run_id = python(code, store).strip()
    guard = make_guard(store=store)
    record = guard.runs.latest(session="s")
    assert record.run == run_id
    assert [stamped.event.kind for stamped in record.events][-2:] == ["CallFinished", "RunEnded"]
    guard.close()
