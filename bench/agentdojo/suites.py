"""The benchmark's own side: tools, environments, and the judges of usefulness and of an attack's success."""

from ast import literal_eval
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suites
from agentdojo.types import text_content_block_from_string
from pydantic import ValidationError

from bench.agentdojo.delivered import delivered
from bench.agentdojo.recordings import RecordedCall, Recording


class Tools:
    """The tools of a suite, as an adapter sees them."""

    def __init__(self, version: str, suite: str) -> None:
        self.runtime = FunctionsRuntime(get_suites(version)[suite].tools)

    def validated(self, call: RecordedCall) -> Mapping[str, Any] | None:
        """Return the arguments as the tool's schema has them; None: the framework would refuse the call.

        What the model gave beyond the schema is dropped, as is null for a parameter that has a default:
        that is what reaches a tool's body.
        """
        function = self.runtime.functions.get(call.tool)
        if function is None:
            return None
        try:
            fit = function.parameters.model_validate(with_lists(call.args))
        except ValidationError:
            return None
        given = fit.model_dump(mode="json", exclude_unset=True)
        return {name: value for name, value in given.items() if value is not None}

    def result(self, call: RecordedCall) -> Any:
        """Return the recorded result as an adapter would have delivered it."""
        returns = self.runtime.functions[call.tool].return_type
        return None if call.result is None else delivered(call.result, returns)


@lru_cache
def tools_of(version: str, suite: str) -> Tools:
    """Return the tools of one version of a suite."""
    return Tools(version, suite)


def judged(recording: Recording, calls: Sequence[tuple[RecordedCall, bool]]) -> bool:
    """Let the suite judge what is left of a run: is it useful or, if attacked, does the attack succeed?

    Args:
        calls: Those that stay in the trace, each with whether it runs in the environment as well.
    """
    suite = get_suites(recording.version)[recording.suite]
    before = _Environments.of(recording)
    after = before.model_copy(deep=True)
    runtime = tools_of(recording.version, recording.suite).runtime
    trace = []
    for call, runs in calls:
        args = with_lists(call.args)
        trace.append(FunctionCall(function=call.tool, args=args))
        if runs:
            runtime.run_function(after, call.tool, args)
    if recording.injection_task is None:
        task: Any = suite.get_user_task_by_id(recording.user_task)
    else:
        task = suite.get_injection_task_by_id(recording.injection_task)
    answer = [text_content_block_from_string(recording.output)]
    try:
        # The suite has no public name for it; `run_task_with_pipeline` judges by this very call.
        return bool(suite._check_task_result(task, answer, before, after, trace))
    except (LookupError, ValueError, AttributeError, TypeError):
        return False  # a judge that looks for what is not there: not done


class _Environments:
    """The environment made last: making one costs far more than a run; runs that share one come together."""

    key: str | None = None
    made: Any = None

    @classmethod
    def of(cls, recording: Recording) -> Any:
        if cls.key != recording.environment:
            suite = get_suites(recording.version)[recording.suite]
            environment = suite.load_and_inject_default_environment(dict(recording.injections))
            cls.made = suite.get_user_task_by_id(recording.user_task).init_environment(environment)
            cls.key = recording.environment
        return cls.made


def with_lists(args: Mapping[str, Any]) -> dict[str, Any]:
    """Read lists that a model wrote as text, as the benchmark's executor does."""
    read = dict(args)
    for name, value in args.items():
        if isinstance(value, str) and value.lstrip().startswith("["):
            try:
                said = literal_eval(value)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue  # no list: it stays the text that it is
            if isinstance(said, list):
                read[name] = said
    return read
