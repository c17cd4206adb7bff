"""Settings that are recognised at first sight are right; of all others `Settings` is asked."""

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ringfence.engine.seams.environment import VARIABLES
from ringfence.engine.seams.errors import SettingsError
from ringfence.engine.seams.plain import ceilings_in, plain_ceilings
from ringfence.engine.seams.said import put_together
from ringfence.engine.seams.settings import Limits, SecretSettings, Settings, SinkSettings

WHOLE: dict[str, Any] = {
    "policy": "support.fence",
    "ceilings": ["acme.fence", "/etc/all.fence"],
    "store": "postgresql://app:pw@db/ringfence",
    "ledger": "redis://cache/0",
    "mode": "enforce",
    "plugins": ["jsonlines", "acme-plugins:chat"],
    "groups": {"support-leads": ["dana", "erin"], "bürgen": "dana"},
    "approvals": {"default": "terminal", "support-leads": ["chat", "terminal"]},
    "sinks": {"jsonlines": {"required": False, "timeout_s": 2.5, "path": "x", "values": 3}, "siem": {}},
    "backends": {"chat": {"port": 7001}},
    "isolates": {"workers": 2},
    "mcp": {"servers": {"github": {"command": "x", "args": ["stdio"]}}},
    "secrets": {"patterns": ["sk-live-[A-Za-z0-9]{16,}"], "names": ["password", "api_key"]},
    "limits": {
        "queue_events": 5,
        "arguments_bytes": 1,
        "observer_events": 10**6,
        "sink_s": 1,
        "backend_s": 0.5,
    },
}
"""Every key that there is, with a value that is right."""

ODD: list[Any] = [
    *("", "x", "x:", "memory:", "sqlite:///x", "default", "enforce", "shadow", "true", "3", "-1"),
    *("(", ".*", "decided"),
    *("\ud800", "x\udc80", "+:", " ", "é", "\0"),
    *(0, 1, -1, 3, 2**53, 2**63, 10**400, True, False, 0.0, 1.0, 1.5, -0.5, 1e-300, 1e300),
    *(float("nan"), float("inf"), -float("inf"), date(2026, 11, 23)),
]  # fmt: skip
TEXTS = [one for one in ODD if isinstance(one, str)]
NAMES = [*WHOLE, *Limits.model_fields, *SinkSettings.model_fields, *SecretSettings.model_fields, *TEXTS]
names = st.sampled_from(NAMES)
values = st.recursive(
    st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)


def places(table: dict[str, Any], at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in table.items():
        found.append((*at, key))
        if isinstance(value, dict):
            found += places(value, (*at, key))
    return found


def changed(
    data: dict[str, Any], at: tuple[str, ...], change: Callable[[dict[str, Any], str], None]
) -> dict[str, Any]:
    """Return a copy in which the entry at `at` is changed, if it is still there."""
    key, *rest = at
    copy = dict(data)
    if not rest:
        change(copy, key)
    elif isinstance(copy.get(key), dict):
        copy[key] = changed(copy[key], tuple(rest), change)
    return copy


@st.composite
def settings(draw: st.DrawFn) -> dict[str, Any]:
    """What is right in all, with a few entries left out, replaced or added."""
    kept = draw(st.sets(st.sampled_from(sorted(WHOLE))))
    data = {key: value for key, value in WHOLE.items() if key in kept}
    for _ in range(draw(st.integers(0, 3))):
        known = places(data)
        value, name = draw(values), draw(names)
        at = draw(st.sampled_from(known)) if known else (name,)
        ways: list[Callable[[dict[str, Any], str], None]] = [
            lambda table, key: table.pop(key, None),
            lambda table, key, value=value: table.update({key: value}),  # type: ignore[misc]
            lambda table, key, value=value, name=name: table.update({name: value}),  # type: ignore[misc]
        ]
        data = changed(data, at, draw(st.sampled_from(ways)))
    return data


def recognised(data: dict[str, Any]) -> tuple[Path, ...] | None:
    said = put_together(dict(data), None, {}, folder=Path("/f"))
    return ceilings_in(said.data)


def agrees(data: dict[str, Any]) -> None:
    found = recognised(data)
    if found is not None:
        assert Settings.of(data, folder="/f").ceilings == found


@given(settings())
@example({})
@example(WHOLE)
def test_what_is_recognised_is_what_the_settings_take_and_say(data: dict[str, Any]) -> None:
    agrees(data)


@pytest.mark.parametrize("at", places(WHOLE), ids=".".join)
def test_no_odd_value_in_any_place_is_recognised_that_the_settings_refuse(at: tuple[str, ...]) -> None:
    for odd in ODD:
        for value in (odd, [odd], {"x": odd}, {"x": [odd]}):
            agrees(changed(WHOLE, at, lambda table, key, value=value: table.update({key: value})))  # type: ignore[misc]
    for name in NAMES:
        for value in ("x", ["x"], {}, 1):
            agrees(changed(WHOLE, at, lambda table, _, name=name, value=value: table.update({name: value})))  # type: ignore[misc]


def test_every_key_with_a_right_value_is_recognised() -> None:
    """Or a check of such settings would be slow again."""
    assert WHOLE.keys() == Settings.model_fields.keys()
    assert WHOLE["limits"].keys() == Limits.model_fields.keys()
    assert WHOLE["secrets"].keys() == SecretSettings.model_fields.keys()
    assert WHOLE["sinks"]["jsonlines"].keys() >= SinkSettings.model_fields.keys()
    assert recognised(WHOLE) == (Path("/f/acme.fence"), Path("/etc/all.fence"))
    assert recognised({**WHOLE, "ceilings": "acme.fence"}) == (Path("/f/acme.fence"),)


def test_where_nobody_says_anything_there_are_no_ceilings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert plain_ceilings(None) == Settings.load().ceilings == ()


def test_a_file_in_the_current_folder_and_a_named_one_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ringfence.toml").write_text('ceilings = "here.fence"')
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "other.toml").write_text('ceilings = "there.fence"')
    assert plain_ceilings(None) == Settings.load().ceilings == (tmp_path / "here.fence",)
    assert plain_ceilings("other/other.toml") == (tmp_path / "other/there.fence",)
    monkeypatch.setenv("RINGFENCE_SETTINGS", "other/other.toml")
    assert plain_ceilings(None) == Settings.load().ceilings == (tmp_path / "other/there.fence",)


def test_a_variable_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ringfence.toml").write_text('ceilings = "here.fence"')
    monkeypatch.setenv("RINGFENCE_CEILINGS", "a.fence, b.fence")
    assert plain_ceilings(None) == Settings.load().ceilings == (tmp_path / "a.fence", tmp_path / "b.fence")


@pytest.mark.parametrize("name", [*(variable.name for variable in VARIABLES), "RINGFENCE_UNKNOWN"])
@pytest.mark.parametrize("value", ["", "x", "memory:"])
def test_with_any_variable_what_is_recognised_is_right(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    try:
        said: object = Settings.load().ceilings
    except SettingsError as error:
        said = str(error)
    try:
        found: object = plain_ceilings(None)
    except SettingsError as error:
        found = str(error)
    assert found is None or found == said


@pytest.mark.parametrize("content", [None, b"a = = 1", b"\xff"], ids=["absent", "no TOML", "no UTF-8"])
def test_a_file_that_cannot_be_read_is_the_same_error(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "ringfence.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as error:
        Settings.load(file)
    with pytest.raises(SettingsError) as same:
        plain_ceilings(file)
    assert error.value.diagnostics() == same.value.diagnostics()


def test_the_name_of_a_folder_that_is_no_text_is_not_recognised(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    os.mkdir(folder)
    file = Path(folder, "ringfence.toml")
    file.write_text('policy = "a.fence"')
    assert plain_ceilings(file) is None
