"""What the adapter says where its package is not there, or is too old to be guarded."""

import subprocess
import sys

import pytest

WITHOUT = "import sys; sys.modules['pydantic_ai.capabilities'] = None"
OLD = "from pydantic_ai.capabilities import AbstractCapability; del AbstractCapability.prepare_model_request"


@pytest.mark.parametrize(
    ("world", "said"),
    [
        (WITHOUT, 'pip install "ringfence[pydantic-ai]"'),
        (OLD, 'too old: pip install --upgrade "ringfence[pydantic-ai]"'),
    ],
)
def test_it_says_what_to_install(world: str, said: str) -> None:
    program = f"{world}; import ringfence.adapters.pydantic_ai"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        f"ImportError: {'Pydantic AI is ' if world == OLD else 'the adapter for Pydantic AI needs its'}"
        in done.stderr
    )
    assert said in done.stderr
