"""The config of a run: its models are guarded, no answer names a tool, and no trace carries what was said."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, Final

from agents import Model, RunConfig

from ringfence.adapter import DeniedError, EngineError, Guard, RunHaltedError
from ringfence.adapters.openai_agents.invocations import around, invocation_of
from ringfence.adapters.openai_agents.models import GuardedModel, GuardedProvider
from ringfence.adapters.openai_agents.refusals import refusal_text, unread_call

_MARK: Final = "ringfence"
"""What a function has that is ours already: an agent inside is given the config of the one around it."""


def guarded_config(guard: Guard, config: Any, *, traces_data: bool) -> RunConfig:
    """Return a config whose models are guarded, and with which no answer names an agent's tools.

    Args:
        traces_data: Traces may carry what was said; else they do not, whatever the config says.
    """
    if config is None or isinstance(config, dict):
        config = RunConfig(**(config or {}))
    formatter = config.tool_error_formatter
    if not hasattr(formatter, _MARK):
        formatter = _formatter(guard, formatter)
    model = config.model
    provider = config.model_provider
    found: RunConfig = dataclasses.replace(
        config,
        model=GuardedModel.over(guard, model) if isinstance(model, Model) else model,
        model_provider=GuardedProvider.over(guard, provider),
        tool_not_found_behavior="return_error_to_model",
        tool_error_formatter=formatter,
        handoff_input_filter=_filter(guard, config.handoff_input_filter),
        # SECURITY: by default the SDK sends its traces to its vendor.
        trace_include_sensitive_data=traces_data and config.trace_include_sensitive_data,
    )
    return found


def _filter(guard: Guard, own: Any) -> Any:
    """Return a filter of handoffs that leaves a refused one alone: whoever stays is shown the refusal."""
    if own is None or hasattr(own, _MARK):
        return own

    def filtered(data: Any) -> Any:
        invocation = around(guard)
        return data if invocation is not None and invocation.stayed else own(data)

    setattr(filtered, _MARK, True)
    return filtered


def _formatter(guard: Guard, own: Any) -> Callable[[Any], Any]:
    async def said(args: Any) -> Any:
        if args.kind == "tool_not_found":
            return await _not_found(guard, args)
        if own is None:
            return None
        told = own(args)
        return await told if inspect.isawaitable(told) else told

    setattr(said, _MARK, True)
    return said


async def _not_found(guard: Guard, args: Any) -> str:
    """Return what the model is told of a tool that there is not; it is refused here if it was not before."""
    constant = guard.plan.responses.unknown or "tool not found"
    invocation = invocation_of(guard, "a tool")
    told = invocation.refused.pop(args.call_id, None)
    if told is not None:
        return told
    call = unread_call(invocation, args.tool_name, args.call_id, "{}")
    try:
        await guard.arefuse(invocation.run, call, "the SDK knows no tool of this name")
    except (DeniedError, RunHaltedError) as error:
        return refusal_text(invocation.run, error)
    except EngineError as error:  # the SDK would tell its own text: the next model call raises this one
        invocation.failed(error)
    return constant
