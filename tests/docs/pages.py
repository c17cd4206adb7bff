"""Reads the code blocks of the documentation, so that the tests can run every one of them.

- A `fence` block is a policy and must load without a word.  `title=NAME` saves it under that name for the
  page's Python; `code=E105` says that it must give exactly that report.  A block that does not begin with
  `language` is a fragment: the page's hidden `<!-- fence-prelude … -->` comment stands before it.
- A `python` block runs; those of one page share their names, after its `<!-- python-prelude … -->`.
- A `sh` block is read: each `make TARGET` must be a target and each `ringfence COMMAND` a command.
- A `toml` block must be settings.  `text` blocks are output and are not run.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
KNOWN = {"fence", "python", "sh", "text", "toml", "json"}

_BLOCK = re.compile(r"^```(?P<kind>\S*)(?P<info>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!-- (?P<kind>fence|python)-prelude\n(?P<code>.*?)-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One code block and where it stands."""

    page: Path
    line: int
    kind: str
    info: dict[str, str]
    code: str

    @property
    def name(self) -> str:
        """Return `docs/page.md:12`, the block's name in test reports."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Return every page that a reader may copy from."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    below = sorted((ROOT / "docs").rglob("*.md")) + sorted((ROOT / "examples").rglob("*.md"))
    return [page for page in top + below if page.exists()]


def blocks(page: Path) -> list[Block]:
    """Return the page's code blocks in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, found.start()) + 1,
            found["kind"],
            dict(part.split("=", 1) for part in found["info"].split()),
            found["code"],
        )
        for found in _BLOCK.finditer(text)
    ]


def prelude(page: Path, kind: str) -> str:
    """Return the hidden text that stands before the page's blocks of this kind."""
    text = page.read_text(encoding="utf-8")
    return "".join(found["code"] for found in _COMMENT.finditer(text) if found["kind"] == kind)


def policy_text(block: Block) -> str:
    """Return the block as a whole policy."""
    if block.code.lstrip().startswith("language"):
        return block.code
    return prelude(block.page, "fence") + block.code
