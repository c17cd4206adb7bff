"""Reads the code blocks of the documentation, so that the tests can run every one of them.

- A `fence` block is a policy and must load without a word.  `title=NAME` saves it under that name for the
  page's Python, and for other blocks to name in `use` and `under`; with `part=yes` it is only used, never
  loaded alone.  `code=E105` says that the block must give exactly that report; `installed=pii,acme`
  that these plugins are there and no others; `live=tools.json` that it is compared with the live tools in
  the block of that title.  A block that does not begin with `language` is a fragment:
  the page's hidden `<!-- fence-prelude … -->` comment stands before it.
- A `python` block runs; those of one page share their names, after its `<!-- python-prelude … -->`.
  One with `title=NAME` is a file instead, which the page's Python may import.
- A `sh` block is read: each `make TARGET` must be a target and each `ringfence COMMAND` a command.
  With `exit=N` its lines also run, between the page's Python, and the last one must end with N;
  `$NAME` in it is the page's Python variable `name`.
- A `toml` block must be settings.  `title=NAME` saves it for the page's Python.
- A `text` block is output and is not run.  With `of=above` it must be what the block above it printed,
  line by line, but for ids, times and the place of the files; `...` stands for lines left out.  Below a
  `fence` block it is the drawn report, to the letter.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePath

from ringfence.cli.tool_sets.files import of_text
from ringfence.dsl.load import Loaded, load_text

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

    @property
    def runs(self) -> bool:
        """Say whether the block is run, in its place on the page."""
        if self.kind == "python":
            return "title" not in self.info
        return self.kind == "sh" and "exit" in self.info


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


def load_block(block: Block) -> Loaded:
    """Load a policy block with the files and plugins that the page says it has."""
    titled = {other.info["title"]: other.code for other in blocks(block.page) if "title" in other.info}
    plugins, live = block.info.get("installed"), block.info.get("live")
    return load_text(
        policy_text(block),
        block.info.get("title", block.name),
        read=lambda path: titled[PurePath(path).name],
        installed=None if plugins is None else plugins.split(",").__contains__,
        live=None if live is None else {tool.name: tool for tool in of_text(titled[live], live)},
    )


def table(page: Path, heading: str) -> list[list[str]]:
    """Return the rows of the first table under a heading, without its head, each cell without backticks."""
    section = page.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in rows[2:]]


# ---- a page as one program -----------------------------------------------------------------------

_MARK = "\x1e"
"""Stands before the name of each block in what a page prints."""

_RUN_COMMANDS = f'''
import re as _re, shlex as _shlex, subprocess as _subprocess, sys as _sys

def _begin(block):
    print("{_MARK}" + block, flush=True)

def _shell(code, last):
    lines = [line for line in code.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        words = [
            _re.sub(r"\\$([A-Z_]+)", lambda found: str(globals()[found[1].lower()]), word)
            for word in _shlex.split(line, comments=True)
        ]
        assert words[0] in ("ringfence", "python"), "no other command runs here: " + line
        words = words[1:] if words[0] == "python" else ["-m", *words]
        done = _subprocess.run(
            [_sys.executable, *words], stdout=_subprocess.PIPE, stderr=_subprocess.PIPE, text=True
        )
        print(done.stdout + done.stderr, end="", flush=True)
        wanted = last if number == len(lines) - 1 else 0
        assert done.returncode == wanted, f"{{line}}: {{done.returncode}}\\n{{done.stdout}}{{done.stderr}}"
'''


def program(page: Path) -> str:
    """Return the page as one Python program: preludes, then its blocks in order."""
    parts = [_RUN_COMMANDS, prelude(page, "python")]
    for block in blocks(page):
        if block.kind == "python" and block.runs:
            parts.append(f"\n_begin({block.name!r})\n{block.code}")
        elif block.runs:
            parts.append(f"\n_begin({block.name!r})\n_shell({block.code!r}, {int(block.info['exit'])})\n")
    return "".join(parts)


def printed(output: str) -> dict[str, str]:
    """Return what each block of a page printed, by the block's name."""
    sections = [section.split("\n", 1) for section in output.split(_MARK)[1:]]
    return {name: text for name, text in sections}


_PASSING = (
    (re.compile(r"run-[0-9a-f]{4,16}"), "RUN"),
    (re.compile(r"T-[0-9A-Z]{8}"), "TICKET"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ"), "MOMENT"),
    (re.compile(r"\b[0-9a-f]{16,64}(-[0-9a-f]+)?(\.\d+)?\b"), "HEX"),
    (re.compile(r"\+?\b\d+(\.\d+)? (us|ms|s|min)\b( \d+ s)?"), "TIME"),
    (re.compile(r"\b\d+ events\b|\bhead \d+:"), "EVENTS"),
    (re.compile(r"(/[\w.-]+)+/(?=[\w.-]+)"), ""),
    (re.compile(r"\s+"), " "),
)


def lasting(line: str) -> str:
    """Return a line of output without what differs from one run to the next."""
    for pattern, instead in _PASSING:
        line = pattern.sub(instead, line)
    return line.strip()
