"""An environment of its own for each package: none of them ever stands beside ours, or beside another."""

import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def environment(home: Path, requirements: Sequence[str]) -> Path | str:
    """Make what is not there yet; return its interpreter, or what pip said.

    Only wheels are taken: nothing of a package runs before the engine is asked for.
    """
    python = home / "bin" / "python"
    stamp, wanted = home / ".ready", f"{' '.join(requirements)} {sys.version}"
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return python
    shutil.rmtree(home, ignore_errors=True)
    venv.create(home, with_pip=False, symlinks=True)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--quiet",
            "--only-binary",
            ":all:",
            *requirements,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        shutil.rmtree(home)  # else the next run would take half of it for the whole
        return done.stderr.strip() or f"pip ended with {done.returncode}"
    stamp.write_text(wanted, "utf-8")
    return python
