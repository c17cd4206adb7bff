"""URIs in their one form; servers and what their tools are called; `[mcp]` of the settings."""

import subprocess
import sys
from typing import Any

import pytest

from ringfence.adapters.mcp import ServerSpec
from ringfence.adapters.mcp.configured import configured_servers
from ringfence.adapters.mcp.servers import ServerMistakeError, parse_server
from ringfence.adapters.mcp.uris import AmbiguousUriError, fits, normal


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [
        ("file:///a/b", "file:///a/b"),
        ("FILE:///a/./b/../c", "file:///a/c"),
        ("file:///a/%2e%2E/b", "file:///b"),
        ("file:///../../etc/passwd", "file:///etc/passwd"),
        ("http://EXAMPLE.com/%7eann/%3a", "http://example.com/~ann/%3A"),
        ("http://a/b/..", "http://a/"),
        ("memo://insights", "memo://insights"),
        ("urn:isbn:1/../2", "urn:isbn:1/../2"),
        ("x://h/p?q=%2F../..#f", "x://h/p?q=%2F../..#f"),
        ("x://h/%252e%252e/y", "x://h/%252e%252e/y"),
        ("x://h/ä", "x://h/ä"),
    ],
)
def test_a_uri_has_one_form(uri: str, wanted: str) -> None:
    assert normal(uri) == wanted
    assert normal(wanted) == wanted


@pytest.mark.parametrize(
    "uri",
    ["", "nothing", "/etc/passwd", "x://h/a%2fb", "x://h/a%5Cb", "x://h/%00", "x://ann@h/", "x://h/a\\b",
     "x://h/a b", "x://h/a\nb", "x://h/\u202e", "x://h/%zz", "x://h%2fevil/", "x:" + "a" * 9_000],
)  # fmt: skip
def test_a_uri_that_reads_two_ways_is_refused(uri: str) -> None:
    with pytest.raises(AmbiguousUriError):
        normal(uri)


def test_a_template_fits_what_it_expands_to() -> None:
    assert fits("docs://open/{page}", "docs://open/x") and not fits("docs://open/{page}", "docs://closed/x")
    assert not fits("docs://open/{page}", "docs://open/x/y") and not fits("{", "x://y")


def test_a_named_server_prefixes_its_tools() -> None:
    named, only = ServerSpec("github", command=("x",)), ServerSpec(command=("x",))
    assert (named.bound("create-issue"), named.shown("create-issue")) == (
        "github/create-issue",
        "github__create-issue",
    )
    assert (only.bound("look"), only.shown("look"), only.argument) == ("look", "look", "main")


@pytest.mark.parametrize("name", ["mcp", "A", "1a", "a__b", "a/b", "a b", "-", "a" * 40, "ä"])
def test_a_name_that_could_be_taken_for_another_is_refused(name: str) -> None:
    with pytest.raises(ServerMistakeError, match="no name"):
        ServerSpec(name, command=("x",))


@pytest.mark.parametrize("url", ["ftp://x/", "http://", "https://ann:secret@x/mcp", "x"])
def test_a_url_that_is_none_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ServerMistakeError) as error:
        ServerSpec("a", url=url)
    assert "secret" not in str(error.value)


def test_servers_of_the_command_line_are_read() -> None:
    assert parse_server("a=run --it 'two words'", env={"X": "1"}).command == ("run", "--it", "two words")
    assert parse_server("a=https://x.example/mcp?k=v", env={}).url == "https://x.example/mcp?k=v"
    for said in ("a", "a=", "=x", "a='"):
        with pytest.raises(ServerMistakeError):
            parse_server(said, env={})


def test_servers_of_the_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "secret")
    one, two = configured_servers(
        {"servers": {"one": {"command": "x", "args": ["y"], "env": {"A": "env:OURS", "B": "b"}},
                     "two": {"url": "https://x/", "headers": {"Authorization": "env:OURS"}}}},
        {"C": "c"},
    )  # fmt: skip
    assert one.command == ("x", "y") and one.env == {"A": "secret", "B": "b", "C": "c"}
    assert two.headers == {"Authorization": "secret"} and "secret" not in repr((one, two))


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ({"servers": {"a": {}}}, "either a command or a url"),
        ({"servers": {"a": {"command": "x", "url": "http://x/"}}}, "either a command or a url"),
        ({"servers": {"a": {"comand": "secret"}}}, "mcp.servers.a.comand"),
        ({"servers": {"a": {"url": "http://x/", "env": {"X": "secret"}}}}, "go with a `command`"),
        ({"servers": {"a": {"command": "x", "headers": {"X": "secret"}}}}, "go with a `url`"),
        ({"servers": {"a": {"command": "x", "env": {"X": "env:NOT_SET_ANYWHERE"}}}}, "is not set"),
        ({"server": {}}, "mcp.server"),
    ],
)
def test_a_mistake_in_the_settings_is_named_and_no_value_repeated(section: Any, why: str) -> None:
    with pytest.raises(ServerMistakeError) as error:
        configured_servers(section, {})
    assert why in str(error.value) and "secret" not in str(error.value)


def test_a_missing_package_is_told_in_words() -> None:
    program = "import sys; sys.modules['mcp'] = None\nimport ringfence.adapters.mcp"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and 'pip install "ringfence[mcp]"' in ended.stderr
