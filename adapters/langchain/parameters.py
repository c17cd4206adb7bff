"""A tool's parameters: which the model may set, which the framework injects, and one value for both sides.

The policy decides on what the function would really receive, after aliases, coercions and defaults
(never on the model's raw arguments), and the function receives what was decided.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, Tool
from pydantic import AliasChoices, BaseModel

from ringfence.adapters.langchain.values import json_of
from ringfence.dsl.canonical import same
from ringfence.dsl.plan import Json

HIDDEN = "ringfence_runtime"
"""A parameter that only `ToolNode` fills: its value proves who injected the others."""
FRAMEWORK_NAMES = frozenset({"run_manager", "callbacks", HIDDEN})
_CALLBACKS = (BaseCallbackHandler, BaseCallbackManager, BaseRunManager)
_CONFIG_KEYS = frozenset(RunnableConfig.__annotations__)
_READ_AGAIN = frozenset({str, int, float, bool, list, dict, tuple, type(None)})
"""What most values are: they can be read as often as one likes."""
_UNCHANGING = frozenset({str, int, float, bool, type(None)})
SINGLE = "tool_input"
"""What the one parameter of a `Tool` without a schema is called."""


class ArgumentsError(ValueError):
    """What was decided cannot be handed to the function unchanged; nothing runs."""


class Parameters:
    """What is known of one tool's parameters, found once when the tool is guarded."""

    def __init__(self, tool: BaseTool, config_names: Iterable[str] = ()) -> None:
        schema = tool.args_schema
        self.model: type[BaseModel] | None = (
            schema if isinstance(schema, type) and issubclass(schema, BaseModel) else None
        )
        self.single: str | None = None
        """The name of the one parameter of a `Tool`, which passes it by position."""
        if isinstance(tool, Tool):
            self.single = _single(schema, self.model)
        self.framework = FRAMEWORK_NAMES | frozenset(config_names)
        if self.single is not None and schema is None:
            self.visible, every = frozenset({SINGLE}), frozenset({SINGLE})
        elif isinstance(schema, dict):
            # SECURITY: LangChain drops what a model sends under a name of its own, or hands it on as it is.
            self.visible = every = frozenset(schema.get("properties", {})) - self.framework
        else:
            self.visible = frozenset(_fields(tool.tool_call_schema)) - self.framework
            every = frozenset(_fields(tool.get_input_schema()))
        signature: Iterable[str] = getattr(tool, "_injected_args_keys", ())
        self.injected: frozenset[str] = (every - self.visible - self.framework) | frozenset(signature)
        self.visible -= self.injected
        self._aliases = _aliases(self.model)
        self._passed_by = self.injected | self.framework
        self.proofs = self.injected | {HIDDEN, "runtime"}
        """Where a runtime of the framework's own may stand, which proves who injected the others."""
        # SECURITY: an injected parameter may have an alias too, under which nobody but a model would send it.
        self._known = self.visible.union(*(self._aliases.get(name, ()) for name in self.visible))

    def first(self) -> str | None:
        """Return the parameter that a text alone would be, or None where a text alone is no input."""
        if self.single is not None:
            return None
        return next(iter(self.model.model_fields), None) if self.model else None

    def decided(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that a model chose: neither injected ones nor the framework's own."""
        if self._passed_by.isdisjoint(values):
            return dict(values)
        return {name: value for name, value in values.items() if not self._is_passed_by(name, value)}

    def _is_passed_by(self, name: str, value: Any) -> bool:
        """Say whether the framework passes this value by the model.

        SECURITY: a name alone does not say so: who calls a function itself may hand on what a model wrote.
        """
        if name in self.injected:
            return True
        if name not in self.framework:
            return False
        if name in FRAMEWORK_NAMES:
            handlers = value if isinstance(value, list) else [value]
            return value is None or all(isinstance(one, _CALLBACKS) for one in handlers)
        return value is None or (isinstance(value, Mapping) and value.keys() <= _CONFIG_KEYS)

    def shown(self, values: Mapping[str, Any]) -> dict[str, Json]:
        """Return the JSON of the values that a model chose."""
        return {name: json_of(value) for name, value in self.decided(values).items()}

    def settled(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the values with lists for what can be read only once: the guard reads it first."""
        for value in values.values():
            if type(value) not in _READ_AGAIN and isinstance(value, Iterator):
                break
        else:
            return values
        return {
            name: list(v) if isinstance(v, Iterator) and name in self.visible else v
            for name, v in values.items()
        }

    def extra(self, given: Mapping[str, Any], used: Iterable[str]) -> dict[str, Any]:
        """Return what was given and would be dropped silently; the policy refuses it."""
        if self.single is not None and self.model is None:
            return {}  # whatever its one argument is called
        if given.keys() <= self._known:
            return {}
        known = self._known.union(used)
        return {name: value for name, value in given.items() if name not in known}

    def execute_with(
        self, values: Mapping[str, Any], seen: Mapping[str, Json], canonical: Mapping[str, Json]
    ) -> dict[str, Any]:
        """Return the keyword arguments for the function: the canonical values, as its schema types them.

        Args:
            values: What the framework would have passed.
            seen: The JSON of the part of it that was decided.
            canonical: What was decided, which an approver may have edited.

        Raises:
            ArgumentsError: The tool's schema makes other values of the canonical ones.
        """
        if values.keys() == canonical.keys() and all(
            type(value) in _UNCHANGING and canonical[name] is value for name, value in values.items()
        ):
            return dict(values)  # what was decided are these very objects
        if same(dict(seen), dict(canonical)):
            # SECURITY: other code may hold what is in them, and people may have taken their time.
            if not same(self.shown(values), dict(canonical)):
                raise ArgumentsError("the arguments were changed after they were decided")
            return dict(values)
        untouched = {name: v for name, v in values.items() if name not in self.decided(values)}
        return {**untouched, **self.typed(canonical, untouched)}

    def typed(
        self, canonical: Mapping[str, Json], untouched: Mapping[str, Any] = MappingProxyType({})
    ) -> dict[str, Any]:
        """Return the canonical values as the tool's schema types them.

        Args:
            untouched: What the schema needs beside them.

        Raises:
            ArgumentsError: The tool's schema makes other values of the canonical ones.
        """
        if self.model is None:
            return dict(canonical)
        if strange := sorted(set(canonical) - set(self.model.model_fields)):
            raise ArgumentsError(f"the tool's schema has no parameter `{strange[0]}`")
        given = {self._sent(name): value for name, value in canonical.items()}
        given |= {self._sent(n): v for n, v in untouched.items() if n in self.model.model_fields}
        result = self.model.model_validate(given)
        typed = {name: getattr(result, name) for name in canonical}
        if not same(json_of(typed), dict(canonical)):
            raise ArgumentsError("the tool's schema changes the values that were decided")
        return typed

    def _sent(self, name: str) -> str:
        names = self._aliases.get(name, ())
        by_name = self.model is not None and (
            self.model.model_config.get("populate_by_name") or self.model.model_config.get("validate_by_name")
        )
        return name if by_name or not names else names[0]


def _single(schema: object, model: type[BaseModel] | None) -> str:
    """Return what the one parameter of a `Tool` is called."""
    named = tuple(model.model_fields) if model else tuple(_fields(schema)) if isinstance(schema, dict) else ()
    # SECURITY: of several names a JSON Schema does not say which one is meant; this one fits none of them.
    return named[0] if named and (model or len(named) == 1) else SINGLE


def _fields(schema: object) -> Iterable[str]:
    if isinstance(schema, dict):
        return tuple(schema.get("properties", {}))
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return tuple(schema.model_fields)
    return tuple(getattr(schema, "__fields__", {}))  # a schema of pydantic v1


def _aliases(model: type[BaseModel] | None) -> dict[str, tuple[str, ...]]:
    """Return the names under which each field may be sent, beside its own."""
    found: dict[str, tuple[str, ...]] = {}
    for name, field in (model.model_fields if model else {}).items():
        alias = field.validation_alias or field.alias
        if isinstance(alias, str):
            found[name] = (alias,)
        elif isinstance(alias, AliasChoices):
            found[name] = tuple(choice for choice in alias.choices if isinstance(choice, str))
    return found
