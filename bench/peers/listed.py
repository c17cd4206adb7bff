"""The engines that are compared, each with the one version of it that is."""

from dataclasses import dataclass

OURS = "Ringfence, with rate limits"
"""The row that all others are compared with."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One row; `package` is installed in an environment of its own, and is empty where it is ours."""

    name: str
    module: str
    package: str = ""
    version: str = ""
    differs: str = ""
    """What it does not do, or does in another way."""
    also: tuple[str, ...] = ()
    """What it imports and does not bring along."""

    @property
    def requirements(self) -> tuple[str, ...]:
        """What pip is asked for; nothing where it is ours."""
        return (f"{self.package}=={self.version}", *self.also) if self.package else ()

    @property
    def title(self) -> str:
        """The name with the version."""
        return f"{self.name} {self.version}".strip()


_SHAPE = (
    "checks arguments and nothing else: a dictionary finds what belongs to a tool, and no reason is given"
)

ENGINES = (
    Engine(OURS, "ringfence_rate", differs="one rate limit per tool as well, which no other engine has"),
    Engine("Ringfence", "ringfence"),
    Engine("jsonschema_rs", "rust_jsonschema", "jsonschema-rs", "0.60.3", _SHAPE),
    Engine(
        "msgspec", "structs", "msgspec", "0.22.0",
        _SHAPE + "; the rule over all tools is a list of what `env` may be"
    ),
    Engine("jsonschema", "python_jsonschema", "jsonschema", "4.26.0", _SHAPE),
    Engine(
        "agent-os-kernel, shared rules", "agent_os_shared", "agent-os-kernel", "3.7.0",
        "no operator for lists: a pattern over the list as text", ("pyyaml==6.0.3",),
    ),
    Engine(
        "agent-os-kernel, document", "agent_os_document", "agent-os-kernel", "3.7.0",
        "one condition per rule, so each check is a rule that denies; no operator for lists: a pattern "
        "over the list as text", ("pyyaml==6.0.3",),
    ),
    Engine(
        "cedarpy", "cedar", "cedarpy", "4.12.2",
        "no regular expressions: `*-*` in place of the pattern; each call crosses to Rust as JSON",
    ),
    Engine("oso", "polar", "oso", "0.27.3", "prefixes, patterns and subsets are functions in Python"),
    Engine("cel-python", "cel", "cel-python", "0.5.0", "a dictionary finds the program of a tool"),
    Engine(
        "pycasbin", "casbin", "pycasbin", "2.8.0",
        "prefixes, patterns and subsets are functions in Python",
    ),
    Engine(
        "invariant-ai", "invariant_rules", "invariant-ai", "0.3.5",
        "made for flows in long traces; here a trace is one message",
    ),
)  # fmt: skip

PLOTTER = ("matplotlib==3.11.2",)
"""Draws the plot, in an environment of its own as well."""
