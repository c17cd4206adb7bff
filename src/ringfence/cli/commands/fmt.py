"""Write policies in the one layout, with the same words and comments."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ringfence.cli.exits import FINE, POLICY_INVALID, REFUSED, CommandError
from ringfence.cli.say import Say

if TYPE_CHECKING:
    from ringfence.dsl.diagnostic import Diagnostic


def words(command: ArgumentParser) -> None:
    """Say what the command takes."""
    command.add_argument("paths", metavar="PATH", nargs="+", help="a .fence file, or a folder of them")
    command.add_argument(
        "--check", action="store_true", help="write nothing; end with 2 if a file would change"
    )
    command.add_argument("--diff", action="store_true", help="write nothing; print what would change")


@dataclass(frozen=True, slots=True)
class _Done:
    """What became of one file."""

    file: Path
    status: Literal["unchanged", "formatted", "would change", "unreadable"]
    diff: str = ""
    found: "tuple[Diagnostic, ...]" = field(default=())


def run(asked: Namespace, say: Say) -> int:
    """Format the files, each whole or not at all."""
    from ringfence.cli.policy import diagnostic_record
    from ringfence.dsl.diagnostic import draw

    files = list(_files(asked.paths))
    done: list[_Done] = []
    with say.progress("formatting", len(files), worth=50) as advance:
        for file in files:
            done.append(_format(file, write=not (asked.check or asked.diff)))
            advance()
    for one in done:
        if one.found:
            say.note(draw(one.found))
        if say.json:
            continue
        if asked.diff and one.diff:
            say.lines(one.diff)
        elif one.status != "unchanged":
            say.line(f"{one.file}: {one.status}")
    if say.json:
        say.data(
            {
                "files": [
                    {
                        "file": str(one.file),
                        "status": one.status,
                        "diff": one.diff,
                        "diagnostics": [diagnostic_record(report) for report in one.found],
                    }
                    for one in done
                ]
            }
        )
    if any(one.status == "unreadable" for one in done):
        return POLICY_INVALID
    return REFUSED if asked.check and any(one.diff for one in done) else FINE


def _files(paths: list[str]) -> Iterator[Path]:
    """Yield each file once, those of a folder in order; refuse a path that is not there."""
    found: dict[Path, None] = {}
    for text in paths:
        path = Path(text)
        if not path.exists():
            raise CommandError(f"{text} does not exist", help="name .fence files, or folders of them")
        found.update(dict.fromkeys(sorted(path.rglob("*.fence")) if path.is_dir() else [path]))
    yield from found


def _format(file: Path, *, write: bool) -> _Done:
    from difflib import unified_diff

    from ringfence.cli.replacing import replace_text
    from ringfence.dsl.format import format_text
    from ringfence.dsl.shelves import Disk

    try:
        text = Disk().text(str(file))
        result = format_text(text, str(file))
        if result.text is None:
            return _Done(file, "unreadable", found=result.diagnostics)
        if result.text == text:
            return _Done(file, "unchanged")
        _same_meaning(file, text, result.text)
        if write:
            replace_text(file, result.text)
    except OSError as error:
        raise CommandError(
            f"{file} cannot be formatted: {error.strerror or error}", help="the file is as it was"
        ) from error
    diff = unified_diff(
        text.split("\n"), result.text.split("\n"), str(file), f"{file} (formatted)", lineterm=""
    )
    return _Done(file, "formatted" if write else "would change", "\n".join(diff))


def _same_meaning(file: Path, before: str, after: str) -> None:
    """Refuse a text that makes another plan; where neither makes one, the words are the same already."""
    from ringfence.dsl.load import load_text
    from ringfence.dsl.shelves import Disk

    one, other = (load_text(text, str(file), read=Disk().text).plan for text in (before, after))
    if (one and one.digest) != (other and other.digest):
        raise RuntimeError(f"the new layout of {file} means something else: this is a fault of the formatter")
