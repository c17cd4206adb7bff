"""A page of a run that an attacker wrote: no element and no attribute beyond the template's own."""

import re
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ringfence.__main__ import main
from ringfence.cli.page.texts import BLOCK, Texts, visible
from ringfence.dsl.plan import Json
from ringfence.engine.decision import events as e
from tests.cli.hostile_run import EVIL, HUGE, written
from tests.cli.logs import stored

VOID = {"meta", "rect"}
ANCHOR = r"#?r\d+(-\d+(-gap)?)?"
NAMED = r"[a-z0-9 ]+"
NUMBER = r"-?\d+(\.\d+)?%?"
MAY_HAVE = {
    "html": {"lang": "en", "data-made-by": "ringfence show"},
    "meta": {
        "charset": "utf-8", "http-equiv": "Content-Security-Policy",
        "name": r"[a-z-]+", "content": r"[^<>\"&]+",
    },
    "section": {"class": NAMED, "id": ANCHOR},
    "li": {"class": NAMED, "id": ANCHOR, "aria-hidden": "true"},
    "a": {"href": ANCHOR},
    "svg": {"class": NAMED, "role": "img", "aria-label": "[a-z' ]+"},
    "rect": {"class": NAMED, **{name: NUMBER for name in ("x", "y", "width", "height", "rx")}},
    "text": {"x": NUMBER, "y": NUMBER, "text-anchor": "start|middle|end"},
    "span": {"class": NAMED, "aria-hidden": "true"},
    **{name: {"class": NAMED} for name in ("div", "p", "ul", "ol", "dl", "b", "bdi", "pre")},
    **{name: {"class": NAMED} for name in ("details", "aside")},
    **{name: {} for name in ("head", "title", "style", "body", "main", "header", "footer")},
    **{name: {} for name in ("h1", "h2", "h3", "h4", "dt", "dd", "code", "em", "q", "summary")},
}  # fmt: skip
"""Every element of the template, with its attributes and what may stand in each."""


class Reader(HTMLParser):
    """Reads a page and notes what does not belong there."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.told: list[str] = []
        self.styles = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        may = MAY_HAVE.get(tag)
        if may is None:
            self.wrong.append(f"element {tag}")
            return
        self.styles += tag == "style"
        for name, value in attrs:
            if name not in may or re.fullmatch(may[name], value or "") is None:
                self.wrong.append(f"attribute {tag} {name}={value!r}"[:200])
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"end of {tag}")

    def handle_comment(self, data: str) -> None:
        self.wrong.append(f"comment {data[:80]!r}")

    def handle_pi(self, data: str) -> None:
        self.wrong.append(f"instruction {data[:80]!r}")

    def unknown_decl(self, data: str) -> None:
        self.wrong.append(f"declaration {data[:80]!r}")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.told.append(data)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("hostile page")
    store = written(folder / "ringfence.db")
    assert main(["show", "last", "--store", str(store), "--html", str(folder / "page.html")]) == 0
    return (folder / "page.html").read_text("utf-8")


def test_no_element_and_no_attribute_is_beyond_the_templates_own(hostile: str) -> None:
    reader = Reader()
    reader.feed(hostile)
    reader.close()
    assert not reader.wrong
    assert not reader.open and reader.styles == 1
    told = "".join(reader.told)
    assert told.count("<script>hit()</script>") > 100, "it is all there, as text"
    assert "{{ 7 * 7 }}" in told and "{% raw %}" in told
    assert "ontoggle" in told and "from line 4" in told


def test_whatever_has_no_shape_is_written_out(hostile: str) -> None:
    for character in set(hostile) - {"\n", "\t"}:
        assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"), character
    assert "\\u202eevil\\u2066" in hostile and "\\u0000" in hostile


def test_nothing_is_loaded_from_anywhere(hostile: str) -> None:
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', hostile)
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; base-uri 'none'; form-action 'none'",
        policy.replace("&#39;", "'").replace("&#43;", "+"),
    )
    style = hostile.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style and "@font-face" not in style


def test_a_huge_run_makes_no_huge_page(hostile: str) -> None:
    assert len(hostile) < 12_000_000
    assert "more characters]" in hostile and "nested deeper than" in hostile


def test_a_text_is_bounded_and_says_what_is_missing() -> None:
    texts = Texts(whole=10_000)
    block = texts.block("x" * 1_000_000)
    assert (len(block.shown), block.missing) == (BLOCK, 1_000_000 - BLOCK)
    assert len(texts.block(HUGE).shown) < 20_000
    assert len(texts.block("y" * 5_000).shown) < 200, "what all texts may have together is spent"
    assert texts.cut == 3
    assert len(texts.line(EVIL * 100)) < 3_000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\u202eabc\x00\r\n", "\\u202eabc\\u0000\\u000d\n"),
        ("\ud800", "\\ud800"),
        ("é ü 漢字 עברית", "é ü 漢字 עברית"),
    ],
)
def test_what_is_visible_stays_and_what_is_not_is_spelled(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


@pytest.mark.parametrize("field", ["reasons", "charges", "facts", "shadow", "verdict", "arguments", "label"])
def test_a_decision_of_another_form_is_a_page_or_a_sentence_that_points_to_verify(
    tmp_path: Path, whole_run: list[e.RunEvent], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    odd: tuple[Json, ...] = ([1], "x", {}, 7, None, [{"effect": []}], {"a": [[]]}, -5, True)
    for number, value in enumerate(odd):
        store = tmp_path / f"{number}.db"
        events = [replace(one, **{field: value}) if one.kind == "CallDecided" else one for one in whole_run]
        stored(store, r1=events)
        code = main(["show", "last", "--store", str(store), "--html", str(tmp_path / f"{number}.html")])
        said = capsys.readouterr()
        assert code == 0 or "ringfence verify" in said.err, value
        assert "RINGFENCE_DEBUG" not in said.err and "Traceback" not in said.err
