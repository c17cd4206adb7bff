"""The files of a policy: `use` and `under` are followed, and each layer becomes one document.

The policy is a layer, and so is each ceiling over it.  What a file uses is read as if it stood there.
"""

import errno
import os
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.parse import parse
from ringfence.dsl.plan import TextFile
from ringfence.dsl.source import Source, Span
from ringfence.dsl.syntax import Declaration, Document, Edition, PolicyHeader, Runs, Text, Tool, Use

MOST_FILES = 100
"""A policy is made from so many files at most, and so many scripts."""

SCRIPT_BYTES = 1024 * 1024
"""JavaScript that a tool runs is no larger."""


class Shelf(Protocol):
    """Where files are found by name."""

    def identity(self, name: str) -> str:
        """Return what tells two names of one file from names of two files."""
        ...

    def text(self, name: str) -> str:
        """Return the text of a file; raise OSError, ValueError or LookupError if it cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, parsed: the policy, or a ceiling."""

    document: Document
    found: tuple[Diagnostic, ...]
    """What is wrong with its texts and with what they name."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that a policy is made from."""

    policy: Layer
    ceilings: tuple[Layer, ...]
    files: tuple[TextFile, ...]
    """The policy first."""


def gather(name: str, text: str, shelf: Shelf, pinned: Sequence[str] = ()) -> Gathered:
    """Parse a policy and everything that it and the host name.

    Args:
        pinned: The ceilings that the host demands; the same file named by `under` counts once.
    Raises:
        OSError, ValueError, LookupError: a pinned ceiling cannot be read; what the text names and cannot
            be read is reported at the name.
    """
    gathering = _Gathering(Source(name, text), shelf)
    return gathering.run(name, pinned)


@dataclass(slots=True)
class _Parsed:
    """One file, parsed once, however many layers use it."""

    name: str
    document: Document
    found: list[Diagnostic]


class _Gathering:
    """The files met so far."""

    def __init__(self, source: Source, shelf: Shelf) -> None:
        self.source = source
        self.shelf = shelf
        self.files: dict[str, TextFile] = {}
        self.parsed: dict[str, _Parsed] = {}

    def run(self, name: str, pinned: Sequence[str]) -> Gathered:
        main = self.shelf.identity(name)
        self.files[name] = TextFile("policy", name, self.source.text)
        self.parsed[main] = _Parsed(name, *parse(self.source))
        policy = _LayerGathering(self, main)
        over: dict[str, Text | None] = {}
        for named in policy.unders():
            known = policy.find("ceiling", named)
            if known is not None:
                over.setdefault(known, named)
        for each in pinned:
            over.setdefault(self.take("ceiling", each), None)
        ceilings: list[Layer] = []
        for identity, path in over.items():
            layer = _LayerGathering(self, identity).layer()
            if not _is_ceiling(layer):
                wrong = _no_ceiling(self.source, path, layer.document)
                if path is None:
                    layer = replace(layer, found=(*layer.found, wrong))
                else:
                    policy.found.append(wrong)
                    if not _headers(layer):
                        continue  # fails closed: the report above is an error; the file has no name to miss
            ceilings.append(layer)
        return Gathered(policy.layer(), tuple(ceilings), tuple(self.files.values()))

    def take(self, role: Literal["use", "ceiling"], name: str) -> str:
        """Return the identity of a file, which is parsed if it is a new one; raise if it cannot be read."""
        identity = self.shelf.identity(name)
        known = self.parsed.get(identity)
        if known is None:
            if len(self.parsed) >= MOST_FILES:
                raise OSError(errno.EMFILE, f"a policy is made from {MOST_FILES} files at most")
            text = self.shelf.text(name)
            file = self.source.add(name, text)
            self.parsed[identity] = _Parsed(name, *parse(self.source, file))
        else:
            text = self.files[known.name].text
        if name not in self.files:  # also a second name of one file: with all names it is found again
            self.files[name] = TextFile(role, name, text)
        return identity

    def script(self, name: str) -> str:
        """Return the text of a file of JavaScript; raise if it cannot be read."""
        known = self.files.get(name)
        if known is not None:
            text = known.text
        elif sum(file.role == "script" for file in self.files.values()) >= MOST_FILES:
            raise OSError(errno.EMFILE, f"a policy runs {MOST_FILES} scripts at most")
        else:
            text = self.shelf.text(name)
        try:
            size = len(text.encode("utf-8"))
        except UnicodeEncodeError:  # a lone surrogate stands for a byte that is none
            raise OSError(errno.EILSEQ, "it is not UTF-8", name) from None
        if size > SCRIPT_BYTES:
            raise OSError(errno.EFBIG, f"it is larger than {SCRIPT_BYTES} bytes", name)
        if known is None:
            self.files[name] = TextFile("script", name, text)
        return text


class _EveryWord:
    """The words of a file that nobody could read."""

    def __contains__(self, word: object) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class _AnyOf:
    """The words lost in any of several files."""

    parts: Sequence[Container[str]]

    def __contains__(self, word: object) -> bool:
        return any(word in part for part in self.parts)


class _LayerGathering:
    """One layer: its file with everything that it uses."""

    def __init__(self, all_files: _Gathering, identity: str) -> None:
        self.all = all_files
        self.found: list[Diagnostic] = []
        self._lost: list[Container[str]] = []
        self._taken: set[str] = set()
        self._within: list[str] = []
        self._main = all_files.parsed[identity].document
        self._declarations = tuple(self._of(identity))

    def layer(self) -> Layer:
        """Return the layer as it stands now."""
        lost = _AnyOf(tuple(self._lost))
        scripts = dict(self._scripts())
        document = Document(self.all.source, self._main.file, self._declarations, lost, scripts)
        return Layer(document, tuple(self.found))

    def _scripts(self) -> Iterator[tuple[Span, str]]:
        """Yield the text of every file of JavaScript that a tool runs."""
        for node in self._declarations:
            for clause in node.clauses if isinstance(node, Tool) else ():
                if isinstance(clause, Runs) and isinstance(clause.what, Text) and clause.what.value.strip():
                    try:
                        yield clause.what.span, self.all.script(self._beside(clause.what))
                    except (OSError, ValueError, LookupError) as error:  # fails closed, as for `use`
                        self._unreadable(clause.what, error)

    def unders(self) -> Iterator[Text]:
        """Yield every name of a ceiling."""
        for node in self._declarations:
            if isinstance(node, PolicyHeader) and node.under is not None:
                yield node.under

    def find(self, role: Literal["use", "ceiling"], path: Text) -> str | None:
        """Return the identity of the file that `path` names beside its own file; None after a report."""
        try:
            return self.all.take(role, self._beside(path))
        except (OSError, ValueError, LookupError) as error:  # fails closed: an error stands in the text
            if role == "use":
                self._lost.append(_EveryWord())
            self._unreadable(path, error)
            return None

    def _beside(self, path: Text) -> str:
        """Return the name of a file that is named in another, beside which it lies."""
        return os.path.join(os.path.dirname(self.all.source.place(path.span).file), path.value)

    def _unreadable(self, path: Text, error: Exception) -> None:
        why = getattr(error, "strerror", None) or "there is no such file"
        self._report(
            path,
            f"`{path.value}` cannot be read",
            why[:1].lower() + why[1:],
            "paths begin at the directory of the file that they stand in",
        )

    def _of(self, identity: str) -> Iterator[Declaration]:
        """Yield the declarations of a file, those of used files among them."""
        parsed = self.all.parsed[identity]
        self._taken.add(identity)
        self._within.append(identity)
        self._lost.append(parsed.document.lost)
        self.found += parsed.found
        used = len(self._within) > 1
        if used:
            self.found += _language(parsed)
        for node in parsed.document.declarations:
            if not (used and isinstance(node, Edition)):
                yield node
            if isinstance(node, Use):
                yield from self._used(node)
        self._within.pop()

    def _used(self, node: Use) -> Iterator[Declaration]:
        identity = self.find("use", node.path)
        if identity in self._within:
            circle = [*self._within[self._within.index(identity) :], identity]
            names = [self.all.parsed[each].name for each in circle]
            self._report(
                node.path,
                "this `use` goes round in a circle",
                " uses ".join(f"`{name}`" for name in names),
                "put what both need into a file of its own",
            )
        elif identity is not None and identity not in self._taken:
            yield from self._of(identity)

    def _report(self, path: Text, message: str, label: str, help: str) -> None:
        self.found.append(Diagnostic("E132", message, path.span, self.all.source, label, help))


def _language(parsed: _Parsed) -> Iterator[Diagnostic]:
    """Say what is wrong with the first words of a used file; nothing if it could not be read whole."""
    document = parsed.document
    editions = [node for node in document.declarations if isinstance(node, Edition)]
    if not editions:
        if not parsed.found:
            yield _first_words(document, "this file does not say its language")
        return
    if document.declarations[0] is not editions[0]:
        yield _first_words(document, "`language 1` must come first")
    if editions[0].number.value != 1:
        number = editions[0].number
        message = f"`language {number.value}` is not known to this version"
        yield Diagnostic("E003", message, number.span, document.source, "the edition of the language")
    for edition in editions[1:]:
        yield Diagnostic(
            "E115", "`language` is said twice", edition.span, document.source, "the second one", "remove it"
        )


def _first_words(document: Document, message: str) -> Diagnostic:
    file = document.file
    span = document.declarations[0].span if document.declarations else Span(file.start, file.start)
    return Diagnostic("E003", message, span, document.source, "", "a file begins with `language 1`")


def _headers(layer: Layer) -> list[PolicyHeader]:
    return [node for node in layer.document.declarations if isinstance(node, PolicyHeader)]


def _is_ceiling(layer: Layer) -> bool:
    headers = _headers(layer)
    broken = any(report.is_error for report in layer.found)
    return headers[0].is_ceiling if headers else broken  # what could not be read is reported already


def _no_ceiling(source: Source, path: Text | None, document: Document) -> Diagnostic:
    if path is not None:
        span, label = path.span, "only a ceiling stands over a policy"
    else:
        header = next((node for node in document.declarations if isinstance(node, PolicyHeader)), None)
        span, label = header.name.span if header else Span(document.file.start, document.file.start), ""
    return Diagnostic("E132", "this file is no ceiling", span, source, label, "a ceiling says `ceiling NAME`")
