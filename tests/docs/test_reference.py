"""The pages about settings and the command line say all there is, and nothing that is not."""

import re
from argparse import _SubParsersAction
from dataclasses import fields

import pytest

from ringfence.cli.words import GROUPS, Command, parser
from ringfence.engine.decision.events import KINDS
from ringfence.engine.seams.environment import VARIABLES
from ringfence.engine.seams.settings import Limits, SecretSettings, Settings, SinkSettings
from ringfence.plugin import Event, Hooks
from ringfence.plugins.isolate.settings import IsolateSettings
from tests.docs.pages import ROOT, table

SETTINGS = ROOT / "docs" / "settings.md"
COMMANDS = ROOT / "docs" / "command_line.md"

# ---- settings ------------------------------------------------------------------------------------

OF_ANY_NAME = {
    "groups": ["groups.NAME"],
    "approvals": ["approvals.GROUP"],
    "backends": ["backends.NAME.KEY"],
    "isolates": ["isolates.KEY"],
    "mcp": ["mcp.KEY"],
}


def keys() -> list[str]:
    found: list[str] = []
    for name in Settings.model_fields:
        if name == "limits":
            found += [f"limits.{key}" for key in Limits.model_fields]
        elif name == "secrets":
            found += [f"secrets.{key}" for key in SecretSettings.model_fields]
        elif name == "sinks":
            found += [f"sinks.NAME.{key}" for key in SinkSettings.model_fields if key != "values"]
            found.append("sinks.NAME.KEY")
        else:
            found += OF_ANY_NAME.get(name, [name])
    return found


def test_every_key_is_described_and_no_other() -> None:
    assert sorted(key for key, _, _ in table(SETTINGS, "Keys")) == sorted(keys())


def test_the_defaults_on_the_page_are_those_of_the_model() -> None:
    said = {key: default for key, default, _ in table(SETTINGS, "Keys")}
    defaults = {**Settings.model_fields, **{f"limits.{key}": it for key, it in Limits.model_fields.items()}}
    defaults |= {f"secrets.{key}": it for key, it in SecretSettings.model_fields.items()}
    defaults |= {f"sinks.NAME.{key}": it for key, it in SinkSettings.model_fields.items()}
    for key, shown in said.items():
        default = defaults[key].get_default() if key in defaults else None
        wanted = "none" if default in (None, ()) else str(default)
        assert shown == (wanted.lower() if isinstance(default, bool) else wanted), key


def test_every_key_of_our_own_isolates_is_described_with_its_default() -> None:
    said = {key: default for key, default, _ in table(SETTINGS, "Isolates")}
    defaults = {f"isolates.{key}": it.get_default() for key, it in IsolateSettings.model_fields.items()}
    assert said == {key: "none" if it is None else str(it) for key, it in defaults.items()}


def test_every_variable_is_described_with_its_key_and_no_other() -> None:
    shown = [(name, key) for name, key, _ in table(SETTINGS, "Variables")]
    assert shown == [(variable.name, variable.key) for variable in VARIABLES]


# ---- the command line ----------------------------------------------------------------------------

NAMES = sorted(name for names in GROUPS.values() for name in names)
EXITS = {"FINE": 0, "REFUSED": 2, "POLICY_INVALID": 3, "PENDING": 4}


def sections() -> dict[str, str]:
    parts = re.split(r"^### (\w+)\n", COMMANDS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: text.split("\n## ")[0] for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def command(name: str) -> Command:
    (commands,) = (action for action in parser()._actions if isinstance(action, _SubParsersAction))
    found: Command = commands.choices[name]
    found.load()
    return found


def test_every_command_has_its_section_and_no_other() -> None:
    assert sorted(sections()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_words_of_a_command_are_those_of_its_parser(name: str) -> None:
    everywhere = {"--store", "--settings", "--json", "--help"}
    wanted = [
        " ".join(filter(None, (*action.option_strings, None if action.nargs == 0 else str(action.metavar))))
        for action in command(name)._actions
        if not everywhere & set(action.option_strings)
    ]
    rows = [line for line in sections()[name].splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == wanted


@pytest.mark.parametrize("name", NAMES)
def test_the_exit_codes_of_a_command_are_those_that_its_code_names(name: str) -> None:
    cli = ROOT / "src" / "ringfence" / "cli"
    source = (cli / "commands" / f"{name}.py").read_text(encoding="utf-8")
    if "ringfence.cli.answering" in source:
        source += (cli / "answering.py").read_text(encoding="utf-8")
    named = {code for word, code in EXITS.items() if re.search(rf"\b{word}\b", source)}
    named -= {4} if name == "deny" else set()  # its code is that of `approve`; one refusal settles a ticket
    said = " ".join(sections()[name].split("\nExit: ")[1].split())
    assert {int(code) for code in re.findall(r"\b([0-9])\b", said)} - {1} == named


def test_the_options_that_stand_everywhere_are_described() -> None:
    text = COMMANDS.read_text(encoding="utf-8").split("\n## ")[0]
    assert re.findall(r"^\| `(--[^`]+)`", text, re.MULTILINE) == ["--store URL", "--settings FILE", "--json"]


def test_the_help_of_the_program_says_the_same_exit_codes() -> None:
    text = COMMANDS.read_text(encoding="utf-8")
    assert re.findall(r"\b[0-9]\b", parser().epilog or "") == re.findall(
        r"^\| ([0-9]) \|", text, re.MULTILINE
    )


# ---- plugins -------------------------------------------------------------------------------------


def test_every_hook_and_every_field_of_an_event_is_described() -> None:
    page = ROOT / "docs" / "plugins.md"
    assert sorted(hook for hook, _ in table(page, "The hooks")) == sorted(
        name for name in vars(Hooks) if name.startswith("ringfence_")
    )
    rows = page.read_text(encoding="utf-8").split("What an `Event` holds:")[1].split("\n## ")[0]
    named = [name for row in re.findall(r"^\| (`.*?`) \|", rows, re.MULTILINE) for name in row.split(", ")]
    assert [name.strip("`") for name in named] == [field.name for field in fields(Event)]


def test_every_kind_of_event_is_described() -> None:
    rows = table(ROOT / "docs" / "how_it_works.md", "What is recorded")
    assert sorted(kind for cell, _ in rows for kind in cell.split(", ")) == sorted(KINDS)
