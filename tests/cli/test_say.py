"""Colours only for people, markup never, and documents that a terminal survives."""

import io
import json

import pytest

from ringfence.cli.say import Say


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def colourful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def written(*pieces: str | tuple[str, str], out: io.StringIO) -> str:
    Say(json=False, out=out).line(*pieces)
    return out.getvalue()


@pytest.mark.usefixtures("colourful")
def test_a_terminal_gets_colours_and_a_pipe_does_not() -> None:
    assert "\x1b[" in written(("denied", "bold red"), " by x", out=Terminal())
    assert written(("denied", "bold red"), " by x", out=io.StringIO()) == "denied by x\n"


@pytest.mark.usefixtures("colourful")
def test_no_color_is_obeyed_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert written(("denied", "bold red"), out=Terminal()) == "denied\n"


@pytest.mark.usefixtures("colourful")
def test_what_looks_like_markup_is_shown_as_it_is() -> None:
    assert "[link=http://x]y[/link] :smile:" in written("[link=http://x]y[/link] :smile:", out=Terminal())


@pytest.mark.usefixtures("colourful")
def test_a_long_line_is_not_broken_on_a_terminal() -> None:
    assert written("x " * 500, out=Terminal()).count("\n") == 1


@pytest.mark.usefixtures("colourful")
@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_line_that_is_to_fit_is_cut_at_the_edge_of_a_terminal_and_nowhere_else(
    no_color: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("NO_COLOR", no_color)
    for out, shown in ((Terminal(), "x" * 19 + "…"), (io.StringIO(), "x" * 50)):
        say = Say(json=False, out=out)
        say.line("x" * 50, fit=True)
        say.table([("x" * 50,)], fit=True)
        assert out.getvalue() == f"{shown}\n{shown}\n"
        assert say.width == (20 if isinstance(out, Terminal) else None)


@pytest.mark.usefixtures("colourful")
def test_letters_of_two_columns_are_counted_so() -> None:
    out = Terminal()
    Say(json=False, out=out).line(*[("字", "")] * 200, fit=True)
    assert out.getvalue().count("字") < 100


def test_whatever_a_command_forgets_to_escape_is_escaped_on_its_way_out() -> None:
    out, err = io.StringIO(), io.StringIO()
    say = Say(json=False, out=out, err=err)
    evil = "\x1b[2J\u202e\r"
    say.line(evil, (evil, "bold"))
    say.table([(evil, evil)])
    say.note(f"one{evil}\ntwo")
    for line in (out.getvalue() + err.getvalue()).split("\n"):
        assert line.isprintable(), ascii(line)
    assert err.getvalue().count("\n") == 2


def test_a_document_is_plain_ascii_whatever_is_in_it() -> None:
    out = io.StringIO()
    evil = "\x1b[2J\x7f\x9b\u202e\ud800é"
    Say(json=True, out=out).data({evil: evil})
    assert out.getvalue().isascii() and all(line.isprintable() for line in out.getvalue().splitlines())
    assert json.loads(out.getvalue()) == {evil: evil}


def test_a_table_is_aligned_and_has_no_trailing_padding() -> None:
    out = io.StringIO()
    Say(json=False, out=out).table([("a", "b"), ("long one", ("c", "red"))], head=("X", "Y"))
    assert out.getvalue() == "X         Y\na         b\nlong one  c\n"


@pytest.mark.usefixtures("colourful")
def test_progress_is_shown_to_people_where_the_work_is_worth_it() -> None:
    err = Terminal()
    with Say(json=False, err=err).progress("verify", 5_000) as advance:
        advance(5_000)
    assert "verify" in err.getvalue()
    err = Terminal()
    with Say(json=False, err=err).progress("replay", 5_000, counted=False):
        pass
    assert "replay" in err.getvalue()
    for stream, total in ((io.StringIO(), 5_000), (Terminal(), 3)):
        with Say(json=False, err=stream).progress("verify", total) as advance:
            advance()
        assert stream.getvalue() == ""
