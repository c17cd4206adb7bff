"""The example plugin of the support desk: its contract, and a policy that asks it."""

import tomllib
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from examples.support_desk import acme_plugins

from ringfence._builtins import builtins
from ringfence.dsl.load import load
from ringfence.engine.seams.answerers import answerers
from ringfence.engine.seams.errors import DeniedError
from ringfence.engine.seams.registry import Registry
from ringfence.testing import PolicyFunctionContract
from tests.guards import ALICE, call, make_guard
from tests.isolates import Executors, FakeExecutor

FOLDER = Path(acme_plugins.__file__ or "").parent
ROOT = FOLDER.parent.parent

POLICY = """
language 1
policy support_desk
capability send_message is external
set our_domains = ["acme.example"]
function is_customer(address: email) gives boolean from "acme_plugins"
tool send_email {
  needs send_message
  takes to: list of email at most 20, body: text
  allow when every address in to satisfies (domain(address) in our_domains or is_customer(address))
  rate 10 per hour
}
"""


class TestIsCustomer(PolicyFunctionContract):
    examples = ((("ann@customers.example",), True), (("eve@evil.example",), False))

    def make(self) -> Callable[..., Any]:
        return acme_plugins.is_customer


def test_mail_goes_to_colleagues_and_customers_and_nobody_else() -> None:
    guard = make_guard(POLICY, plugins=[acme_plugins])
    run = guard.begin_run(principal=ALICE)
    everyone = ["dana@acme.example", "bob@customers.example"]
    assert guard.execute(run, call("send_email", to=everyone, body="hi"), lambda _: "sent") == "sent"
    with pytest.raises(DeniedError):
        guard.execute(run, call("send_email", to=[*everyone, "eve@evil.example"], body="hi"), lambda _: 1)
    guard.close()


def test_the_distribution_names_the_module_under_the_name_that_policies_use() -> None:
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())
    points = project["project"]["entry-points"]["ringfence.plugins"]
    assert points == {"acme_plugins": "acme_plugins"}
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"] == ["acme_plugins.py"]
    spec = spec_from_file_location("acme_plugins", FOLDER / "acme_plugins.py")
    assert spec is not None and spec.loader is not None
    alone = module_from_spec(spec)
    spec.loader.exec_module(alone)  # as it is imported where it is installed: by itself
    registry = Registry(extra=[alone])
    registry.check()
    (row,) = [row for row in registry.rows if row.name == "acme_plugins"]
    assert row.functions == ("is_customer(address: email) gives boolean",)


def test_beside_it_the_whole_support_desk_of_the_language_checks_without_a_word() -> None:
    registry = Registry(builtins=builtins(), extra=[acme_plugins, Executors(FakeExecutor())])
    loaded = load(
        ROOT / "tests" / "dsl" / "policies" / "support_desk.fence",
        installed=registry.installed,
    )
    assert loaded.diagnostics == () and loaded.plan is not None
    found, wrong = answerers(loaded.plan, registry)
    assert set(found) == {"is_customer", "redact pii"} and wrong == []
