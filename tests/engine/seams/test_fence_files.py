"""pytest collects `*_test.fence`: each block is an item, and a failure is drawn at its step."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

POLICY = """language 1
policy rows
tool query { takes table: text  allow when table == "users"  rate 9 per day }
"""
TESTS = """language 1
use "rows.fence"
test "users may be read" { call query(table: "users") is allowed }
test "payments may not" { call query(table: "payments") is allowed }
"""


def pytest_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "RINGFENCE_"))
    }
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT / "src"), env.get("PYTHONPATH"))))
    # Where Ringfence is installed, its plugin is there by itself; here it may not be.
    plugin = ["-p", "no:ringfence", "-p", "ringfence.testing.pytest_plugin"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugin, "-q", "-rA", *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_each_block_is_an_item_that_passes_or_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "rows.fence").write_text(POLICY)
    (tmp_path / "rows_test.fence").write_text(TESTS)
    ran = pytest_in(tmp_path)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "PASSED rows_test.fence::users may be read" in ran.stdout
    assert "FAILED rows_test.fence::payments may not" in ran.stdout
    assert "--> " in ran.stdout and "rows_test.fence:4:27" in ran.stdout
    assert "expected: allowed" in ran.stdout and "got: denied" in ran.stdout
    assert "Traceback" not in ran.stdout
    ran = pytest_in(tmp_path, "-k", "users")
    assert (ran.returncode, "1 passed, 1 deselected" in ran.stdout) == (0, True)


def test_a_policy_that_does_not_load_fails_the_run(tmp_path: Path) -> None:
    (tmp_path / "rows.fence").write_text(POLICY.replace("allow", "alow"))
    (tmp_path / "rows_test.fence").write_text(TESTS)
    ran = pytest_in(tmp_path)
    assert ran.returncode == 2
    assert "error[E003]" in ran.stdout and "did you mean `allow`?" in ran.stdout


def test_ceilings_are_pinned_in_the_settings_of_pytest(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nringfence_ceilings =\n    org/top.fence\n")
    (tmp_path / "rows.fence").write_text(POLICY)
    (tmp_path / "rows_test.fence").write_text(TESTS)
    ran = pytest_in(tmp_path)
    assert ran.returncode == 2 and "top.fence cannot be read" in ran.stdout
    (tmp_path / "org").mkdir()
    (tmp_path / "org" / "top.fence").write_text("language 1\nceiling top\nrule never: deny any tool\n")
    ran = pytest_in(tmp_path)
    assert ran.returncode == 1 and "2 failed" in ran.stdout and "deny by `never`" in ran.stdout
