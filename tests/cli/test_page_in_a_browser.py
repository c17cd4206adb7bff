"""Chromium opens the page of a recorded run: it shows what it must, and of a hostile run nothing is run."""

from pathlib import Path

import pytest

from ringfence.__main__ import main
from tests.browser import asked, opened
from tests.cli import desk_run, hostile_run
from tests.services import needed


@pytest.fixture(scope="module", autouse=True)
def chromium() -> None:
    needed("chromium")


def page_of(store: Path) -> Path:
    file = store.with_name("page.html")
    assert main(["show", "last", "--store", str(store), "--html", str(file)]) == 0
    return file


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("desk") / "ringfence.db"
    desk_run.recorded(store)
    return page_of(store)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_of(hostile_run.written(tmp_path_factory.mktemp("hostile") / "ringfence.db"))


def test_a_person_sees_prompt_refusal_rule_bars_and_levels(desk: Path) -> None:
    saw = asked(
        desk,
        """
        const text = (one) => one.innerText.replace(/\\s+/g, " ").trim();
        const denied = doc.querySelector("li.call.deny");
        return {
          title: doc.title,
          shown: text(doc.body),
          denied: text(denied),
          colour: win.getComputedStyle(denied.querySelector(".chip")).color,
          plain: win.getComputedStyle(doc.body).color,
          bars: [...doc.querySelectorAll(".lane a rect, .bar rect:not(.rail)")].map(
            (one) => [one.getAttribute("class"), one.getBoundingClientRect().width]),
          levels: [...doc.querySelectorAll("#r0 .step .level")].map(text),
          raised: text(doc.querySelector(".raised").closest("li").querySelector("h3")),
          links: [...doc.querySelectorAll("a")].map(
            (one) => doc.querySelector(one.getAttribute("href")) !== null),
          open: doc.querySelectorAll("details[open]").length,
        };
        """,
    )
    assert saw["title"].startswith("main, run run-")
    assert "Mail bob@acme.example our newest customers." in saw["shown"]
    assert "Customer 39" not in saw["shown"], "a long result is folded"
    assert "denied by rule leave" in saw["denied"]
    assert "deny post when after reading personal" in saw["denied"]
    assert saw["colour"] != saw["plain"], "the styles were applied: their digest is the one in the policy"
    assert {kind for kind, _ in saw["bars"]} == {"model", "body", "people"}
    assert all(width > 0 for _, width in saw["bars"])
    assert [level.split()[-2:] for level in saw["levels"][:2]] == [["public", "○○"]] * 2
    assert any("personal" in level for level in saw["levels"])
    assert "query" in saw["raised"]
    assert saw["links"] and all(saw["links"]) and saw["open"] == 0


@pytest.mark.parametrize("wide", [360, 800, 1_280])
def test_nothing_is_cut_off_whatever_the_width(desk: Path, hostile: Path, wide: int) -> None:
    for page in (desk, hostile):
        saw = asked(
            page, "const all = doc.documentElement; return [all.scrollWidth, all.clientWidth];", wide=wide
        )
        assert saw[0] <= saw[1] + 1, page


def test_it_opens_from_the_disk_without_a_complaint_light_and_dark(desk: Path) -> None:
    light = opened(desk)
    dark = opened(desk, "--blink-settings=preferredColorScheme=0")
    assert light.complaints == dark.complaints == ()
    assert "rule leave" in light.dom and light.dom == dark.dom


def test_dark_is_dark_and_light_is_light(desk: Path, tmp_path: Path) -> None:
    pictures = [tmp_path / "light.png", tmp_path / "dark.png"]
    for picture, flags in zip(pictures, ([], ["--blink-settings=preferredColorScheme=0"]), strict=True):
        opened(desk, f"--screenshot={picture}", "--window-size=800,600", *flags)
    light, dark = (picture.read_bytes() for picture in pictures)
    assert light.startswith(b"\x89PNG") and dark.startswith(b"\x89PNG") and light != dark


def test_of_a_hostile_run_nothing_is_run_and_nothing_is_even_refused(hostile: Path) -> None:
    seen = opened(hostile)
    assert seen.complaints == (), "nothing was there to be refused: the values are text"
    question = "return [doc.scripts.length, doc.images.length, doc.forms.length, doc.title];"
    assert asked(hostile, question)[:3] == [0, 0, 0]
    assert "<script>hit()</script>" in asked(hostile, question)[3]


def test_the_browser_would_have_noticed(hostile: Path, tmp_path: Path) -> None:
    """What these tests look for is seen where a value is not escaped: the policy refuses it, and says so."""
    whole = hostile.read_text("utf-8")
    raw = whole.replace("<main>", "<main><script>document.title = `HIT`</script>", 1)
    (tmp_path / "raw.html").write_text(raw, "utf-8")
    refused = opened(tmp_path / "raw.html")
    assert any("Content Security Policy" in line for line in refused.complaints)
    assert "<title>HIT</title>" not in refused.dom
    (tmp_path / "open.html").write_text(raw.replace("Content-Security-Policy", "no-policy", 1), "utf-8")
    assert "<title>HIT</title>" in opened(tmp_path / "open.html").dom
