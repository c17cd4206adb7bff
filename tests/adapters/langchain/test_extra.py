"""Without its packages the adapter says in words what is missing."""

import subprocess
import sys

import pytest

NAMES = {"guard_tools": "langchain_core", "GuardMiddleware": "langchain", "tool_node": "langgraph"}


@pytest.mark.parametrize(("name", "package"), list(NAMES.items()))
def test_a_missing_package_is_told_with_what_installs_it(name: str, package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from ringfence.adapters.langchain import {name}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ") and last.endswith('pip install "ringfence[langchain]"')


def test_langchain_core_alone_is_enough_for_guarded_tools() -> None:
    hidden = "; ".join(f"sys.modules[{name!r}] = None" for name in ("langchain", "langgraph"))
    code = f"import sys; {hidden}; from ringfence.adapters.langchain import guard_tools; print(guard_tools)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
