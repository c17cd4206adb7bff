"""Headless Chromium for tests: opens a page from the disk, reaches nothing else, and says what it saw.

Where it is not installed the tests that need it are skipped, as `tests/services.py` says.
"""

import json
import re
import subprocess
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import Any

WITHIN_S = 120


@dataclass(frozen=True)
class Seen:
    """What came of opening a page."""

    dom: str
    """The document as it stood when it was loaded."""
    complaints: tuple[str, ...]
    """What the page's console said: refusals of its policy, errors."""


def opened(page: Path, *flags: str) -> Seen:
    """Open a page and return its DOM."""
    words = [
        *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *(
            "--no-first-run",
            "--disable-sync",
            "--disable-background-networking",
            "--disable-component-update",
        ),
        *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0"),
        f"--user-data-dir={page.parent / 'browser'}",
        *flags,
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(words, capture_output=True, timeout=WITHIN_S)
    log = done.stderr.decode("utf-8", "replace")
    assert done.returncode == 0, log[-2_000:]
    return Seen(done.stdout.decode("utf-8"), tuple(line for line in log.splitlines() if "CONSOLE" in line))


def asked(page: Path, question: str, *, wide: int = 1_280) -> Any:
    """Ask a page, unchanged, as it is laid out in a window so many pixels wide.

    Args:
        question: The body of a JavaScript function of `doc` and `win`; what it returns is JSON.
    """
    document = escape(page.read_text("utf-8"))
    harness = page.parent / f"harness-{wide}.html"
    harness.write_text(
        '<!doctype html><meta charset="utf-8"><body><script>\n'
        "function ask(frame) {\n"
        "  const doc = frame.contentDocument, win = frame.contentWindow;\n"
        f"  const answer = (() => {{ {question} }})();\n"
        '  const told = document.createElement("pre");\n'
        '  told.id = "told"; told.textContent = JSON.stringify(answer);\n'
        "  document.body.appendChild(told);\n"
        "}\n</script>\n"
        f'<iframe width="{wide}" height="900" onload="ask(this)" srcdoc="{document}"></iframe>',
        "utf-8",
    )
    seen = opened(harness)
    found = re.search(r'<pre id="told">(.*?)</pre>', seen.dom, re.DOTALL)
    assert found is not None, seen.complaints
    return json.loads(unescape(found[1]))
