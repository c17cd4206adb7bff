"""Settings say file, key, what is wrong and how to mend it, and never a secret."""

from pathlib import Path
from typing import Any

import pytest

from ringfence.engine.seams.environment import VARIABLES
from ringfence.engine.seams.errors import SettingsError
from ringfence.engine.seams.settings import Limits, Settings
from ringfence.engine.seams.store_urls import absolute_url


def load(folder: Path, text: str, **variables: str) -> Settings:
    file = folder / "ringfence.toml"
    file.write_text(text, encoding="utf-8")
    return Settings.load(file, env=variables)


def refused(folder: Path, text: str, **variables: str) -> str:
    with pytest.raises(SettingsError) as error:
        load(folder, text, **variables)
    return error.value.diagnostics()


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """
        policy = "policies/support.fence"
        store = "sqlite:///state/log.db"
        mode = "enforce"
        plugins = ["jsonlines", "acme-plugins:chat"]
        [groups]
        support-leads = ["dana", "erin"]
        [approvals]
        default = "terminal"
        support-leads = ["chat", "terminal"]
        [sinks.jsonlines]
        required = false
        timeout_s = 2.5
        path = "audit.jsonl"
        [backends.chat]
        port = 7001
        [isolates]
        workers = 2
        [limits]
        queue_events = 5
        """,
    )
    assert settings.policy == tmp_path / "policies/support.fence"
    assert settings.store == f"sqlite:///{tmp_path}/state/log.db"
    assert settings.plugins == ("jsonlines", "acme-plugins:chat")
    assert settings.people("support-leads") == ("dana", "erin") and settings.people("others") == ()
    assert settings.approvals == {"default": ("terminal",), "support-leads": ("chat", "terminal")}
    sink = settings.sinks["jsonlines"]
    assert (sink.required, sink.timeout_s, sink.values) == (False, 2.5, {"path": "audit.jsonl"})
    assert settings.backends == {"chat": {"port": 7001}}
    assert settings.isolates == {"workers": 2}
    assert settings.limits == Limits(queue_events=5)
    assert (settings.file, settings.folder) == (tmp_path / "ringfence.toml", tmp_path)


def test_without_a_file_there_are_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.load(env={})
    assert settings.store == f"sqlite:///{tmp_path}/ringfence.db"
    assert (settings.file, settings.policy, settings.plugins) == (None, None, ())


def test_a_file_in_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ringfence.toml").write_text('plugins = ["x"]')
    assert Settings.load(env={}).plugins == ("x",)


def test_a_sink_is_required_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    assert load(tmp_path, "[sinks.siem]").sinks["siem"].required


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('polcy = "x"', ["`polcy`: unknown key", "did you mean `policy`?"]),
        ("[limits]\nqueue_event = 5", ["`limits.queue_event`: unknown key", "did you mean `queue_events`?"]),
        ("[limits]\nqueue_events = 0", ["`limits.queue_events`: must be at least 1"]),
        ("[limits]\nqueue_events = true", ["`limits.queue_events`: must be a whole number"]),
        ("[limits]\nsink_s = inf", ["`limits.sink_s`: must be a finite number"]),
        ("[limits]\nsink_s = 0", ["`limits.sink_s`: must be greater than 0"]),
        ("[sinks.siem]\nrequired = 'perhaps'", ["`sinks.siem.required`: must be true or false"]),
        ("sinks = 3", ["`sinks`: must be a table"]),
        ("isolates = 3", ["`isolates`: must be a table"]),
        ("plugins = 3", ["`plugins`: must be a list"]),
        ("store = 3", ["`store`: must be text"]),
        ("store = 'ringfence.db'", ["`store`", "must be a URL, like `sqlite:///ringfence.db`"]),
        ("mode = 'shadow'", ["`mode`: `shadow` is not part of this version", "write `enforce`"]),
        ("mode = 'off'", ["`mode`: must be `enforce`"]),
        ("[groups]\ndefault = ['dana']", ["a group must not be called `default`"]),
        (
            "[groups]\nsupport-leads = ['dana']\n[approvals]\nsupport-lead = 'chat'",
            ["names the unknown group `support-lead`", "did you mean `support-leads`?"],
        ),
        ("a = = 1", ["is not TOML", "line 1"]),
    ],
)
def test_a_mistake_says_file_key_and_what_is_wrong(tmp_path: Path, text: str, says: list[str]) -> None:
    message = refused(tmp_path, text)
    for words in [str(tmp_path / "ringfence.toml"), *says]:
        assert words in message


def test_a_relative_url_is_a_mistake_although_it_looks_like_a_path(tmp_path: Path) -> None:
    assert "must be a URL" in refused(tmp_path, "store = '/srv/ringfence.db'")


def test_all_mistakes_are_said_together(tmp_path: Path) -> None:
    message = refused(tmp_path, "polcy = 'x'\nmode = 'shadow'\n[limits]\nsink_s = 'long'", RINGFENCE_STOR="x")
    assert "4 mistakes" in message
    for words in ("polcy", "shadow", "limits.sink_s", "RINGFENCE_STOR", "did you mean `RINGFENCE_STORE`?"):
        assert words in message


def test_more_than_twenty_mistakes_are_counted(tmp_path: Path) -> None:
    message = refused(tmp_path, "\n".join(f"wrong_{number} = 1" for number in range(25)))
    assert message.count("unknown key") == 20 and "and 5 more" in message


def test_a_file_that_is_not_there_is_an_error_when_it_was_named(tmp_path: Path) -> None:
    for variables in ({}, {"RINGFENCE_SETTINGS": str(tmp_path / "none.toml")}):
        with pytest.raises(SettingsError, match=r"none\.toml: cannot be read"):
            Settings.load(None if variables else tmp_path / "none.toml", env=variables)


def test_a_file_that_is_not_utf8_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "ringfence.toml").write_bytes(b'policy = "\xff"')
    with pytest.raises(SettingsError, match="is not TOML"):
        Settings.load(tmp_path / "ringfence.toml", env={})


# One case for each row of the table.
VARIABLE_CASES: dict[str, tuple[dict[str, str], str, Any]] = {
    "RINGFENCE_POLICY": ({"RINGFENCE_POLICY": "/p/x.fence"}, "policy", Path("/p/x.fence")),
    "RINGFENCE_CEILINGS": (
        {"RINGFENCE_CEILINGS": "/p/a.fence, /p/b.fence"},
        "ceilings",
        (Path("/p/a.fence"), Path("/p/b.fence")),
    ),
    "RINGFENCE_STORE": ({"RINGFENCE_STORE": "memory:"}, "store", "memory:"),
    "RINGFENCE_LEDGER": ({"RINGFENCE_LEDGER": "memory:"}, "ledger", "memory:"),
    "RINGFENCE_MODE": ({"RINGFENCE_MODE": "enforce"}, "mode", "enforce"),
    "RINGFENCE_PLUGINS": ({"RINGFENCE_PLUGINS": "a, b,"}, "plugins", ("a", "b")),
    "RINGFENCE_LIMITS__KEY": ({"RINGFENCE_LIMITS__SINK_S": "2"}, "limits", Limits(sink_s=2.0)),
    "RINGFENCE_BACKENDS__NAME__KEY": (
        {"RINGFENCE_BACKENDS__CHAT__TOKEN": "t"},
        "backends",
        {"chat": {"token": "t"}},
    ),
    "RINGFENCE_ISOLATES__KEY": ({"RINGFENCE_ISOLATES__WORKERS": "3"}, "isolates", {"workers": "3"}),
}


@pytest.mark.parametrize("name", VARIABLE_CASES)
def test_each_variable_overrides_its_key(tmp_path: Path, name: str) -> None:
    variables, field, value = VARIABLE_CASES[name]
    text = 'policy = "other"\nstore = "sqlite:///x.db"\nplugins = ["c"]\n[limits]\nsink_s = 3'
    assert getattr(load(tmp_path, text, **variables), field) == value


def test_a_variable_reaches_a_sink_whose_name_has_a_dash(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        "[sinks.my-siem]\nrequired = true",
        RINGFENCE_SINKS__MY_SIEM__TOKEN="t",
        RINGFENCE_SINKS__MY_SIEM__REQUIRED="false",
    )
    assert settings.sinks["my-siem"].values == {"token": "t"} and not settings.sinks["my-siem"].required


def test_every_variable_of_the_table_has_a_test() -> None:
    elsewhere = {"RINGFENCE_SETTINGS", "RINGFENCE_DEBUG", "RINGFENCE_SINKS__NAME__KEY"}
    assert {variable.name for variable in VARIABLES} == set(VARIABLE_CASES) | elsewhere
    assert all(variable.meaning for variable in VARIABLES)


def test_a_variable_that_is_no_setting_is_let_by(tmp_path: Path) -> None:
    assert load(tmp_path, "", RINGFENCE_DEBUG="1", RINGFENCE_SETTINGS="x") == load(tmp_path, "")


def test_a_wrong_variable_is_named_instead_of_the_file(tmp_path: Path) -> None:
    assert refused(tmp_path, "", RINGFENCE_MODE="shadow").startswith("settings: RINGFENCE_MODE: `shadow`")


@pytest.mark.parametrize(
    "name", ["RINGFENCE_POLCY", "RINGFENCE_LIMITS", "RINGFENCE_SINKS__X", "RINGFENCE_X__Y"]
)
def test_an_unknown_variable_is_an_error(tmp_path: Path, name: str) -> None:
    assert f"{name}: unknown variable" in refused(tmp_path, "", **{name: "1"})


def test_paths_in_variables_start_at_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    settings = load(tmp_path, "", RINGFENCE_STORE="sqlite:///x.db", RINGFENCE_POLICY="p.fence")
    assert settings.store == f"sqlite:///{tmp_path}/here/x.db"
    assert settings.policy == tmp_path / "here" / "p.fence"


def test_ceilings_are_files_beside_who_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(tmp_path, "ceilings = 'org.fence'").ceilings == (tmp_path / "org.fence",)
    assert load(tmp_path, "ceilings = ['a.fence', '/b.fence']").ceilings == (
        tmp_path / "a.fence",
        Path("/b.fence"),
    )
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    overlaid = load(tmp_path, "ceilings = 'org.fence'", RINGFENCE_CEILINGS="x.fence,../y.fence")
    assert overlaid.ceilings == (tmp_path / "here" / "x.fence", tmp_path / "here" / "../y.fence")
    with pytest.raises(SettingsError, match="ceilings"):
        load(tmp_path, "ceilings = [7]")


def test_settings_are_printed_without_what_may_be_secret(tmp_path: Path) -> None:
    settings = load(tmp_path, "[sinks.siem]\ntoken = 'hunter2'\n[backends.chat]\ntoken = 'hunter2'")
    assert "hunter2" not in f"{settings!r}{settings}{settings.model_dump()}{settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("url", "absolute"),
    [
        ("sqlite:///x.db", "sqlite:////f/x.db"),
        ("sqlite:////srv/x.db", "sqlite:////srv/x.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("memory:", "memory:"),
        ("redis:///0", "redis:///0"),
        ("postgresql://h/db", "postgresql://h/db"),
    ],
)
def test_only_a_path_of_this_machine_is_made_absolute(url: str, absolute: str) -> None:
    assert absolute_url(url, Path("/f")) == absolute
