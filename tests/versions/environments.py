"""Which versions the adapter is tried with, and how their environments are made."""

import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".venv-versions"
SUITE = "tests/adapters/langchain"
_TESTS = ("hypothesis", "pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist")
_ALL = (*_TESTS, "langchain-classic", "langgraph-checkpoint-sqlite", "deepagents")


class NotInstallableError(Exception):
    """No versions of the packages fit together here; the text is what pip said last."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A set of versions."""

    name: str
    wants: tuple[str, ...]
    tests: str = SUITE
    may_be_missing: bool = False
    """It is said, and no failure, if it cannot be installed."""

    @property
    def folder(self) -> Path:
        """Where it stands."""
        return PLACE / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def make(self) -> None:
        """Make it, unless it stands there as it is wanted.

        Raises:
            NotInstallableError: These versions do not fit together.
        """
        stamp, want = self.folder / ".ready", self._digest()
        if stamp.exists() and stamp.read_text("utf-8") == want:
            return
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(self.folder)], check=True)
        wanted = [*self.wants, "--editable", ".[langchain,isolate]"]
        pip = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
        ran = subprocess.run(pip, cwd=ROOT, capture_output=True, text=True)
        if ran.returncode != 0:
            raise NotInstallableError(_why((ran.stdout + ran.stderr).splitlines()) or ran.stderr[-400:])
        stamp.write_text(want, "utf-8")

    def versions(self, *packages: str) -> dict[str, str]:
        """Return the installed versions of these packages; those that are not there are left out."""
        code = (
            "import sys\nfrom importlib.metadata import PackageNotFoundError, version\n"
            "for name in sys.argv[1:]:\n"
            "    try: print(name, version(name))\n"
            "    except PackageNotFoundError: pass"
        )
        ran = subprocess.run(
            [str(self.python), "-c", code, *packages], capture_output=True, text=True, check=True
        )
        return dict(line.split(" ", 1) for line in ran.stdout.splitlines())

    def _digest(self) -> str:
        said = (ROOT / "pyproject.toml").read_text("utf-8") + "\n".join(self.wants) + str(ROOT)
        return sha256(said.encode("utf-8")).hexdigest()


def _why(lines: list[str]) -> str:
    """Return pip's words on what does not fit together, the first few."""
    told = [line.strip() for line in lines if " depends on " in line or " requires " in line]
    return "; ".join(dict.fromkeys([*told[:4], *(one for one in lines if one.startswith("ERROR"))][:5]))


ENVIRONMENTS = (
    Environment("1.2.12", ("langchain==1.2.12", *_ALL)),
    Environment("1.4", ("langchain>=1.4,<1.5", *_ALL)),
    Environment("newest", ("langchain>=1.5,<2", *_ALL), may_be_missing=True),
    Environment(
        "mcp-adapters",
        ("langchain>=1.2.12,<2", "langchain-mcp-adapters", *_TESTS),
        tests="tests/versions/mcp_adapters.py",
    ),
)
"""`langchain-mcp-adapters` needs mcp < 2, and the gateway mcp >= 2.3: an environment of its own."""
