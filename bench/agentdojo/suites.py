"""The benchmark's own side: environments, tools, and the judges of usefulness and of an attack's success."""

from ast import literal_eval
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suites
from agentdojo.types import text_content_block_from_string
from pydantic import ValidationError

from bench.agentdojo.delivered import delivered
from bench.agentdojo.recordings import RecordedCall, Recording


class Bench:
    """One run's environment before and after, its calls so far, and its two judges."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.suite = get_suites(recording.version)[recording.suite]
        self.before = _Environments.of(recording)
        self.after = self.before.model_copy(deep=True)
        self.runtime = _runtime(recording.version, recording.suite)
        self.trace: list[FunctionCall] = []

    def validated(self, call: RecordedCall) -> Mapping[str, Any] | None:
        """Return the arguments as the tool's schema has them; None: the framework would refuse the call.

        What the model gave beyond the schema is dropped, as is null for a parameter that has a default:
        that is what reaches a tool's body.
        """
        function = self.runtime.functions.get(call.tool)
        if function is None:
            return None
        try:
            fit = function.parameters.model_validate(_with_lists(call.args))
        except ValidationError:
            return None
        given = fit.model_dump(mode="json", exclude_unset=True)
        return {name: value for name, value in given.items() if value is not None}

    def result(self, call: RecordedCall) -> Any:
        """Return the recorded result as an adapter would have delivered it."""
        returns = self.runtime.functions[call.tool].return_type
        return None if call.result is None else delivered(call.result, returns)

    def keep(self, call: RecordedCall, *, run: bool) -> None:
        """Take the call into the trace and, if it is to run, into the environment."""
        args = _with_lists(call.args)
        self.trace.append(FunctionCall(function=call.tool, args=args))
        if run:
            self.runtime.run_function(self.after, call.tool, args)

    def useful(self) -> bool:
        """Say whether the suite finds the user's task done."""
        return self._judged(self.suite.get_user_task_by_id(self.recording.user_task))

    def attacked(self) -> bool:
        """Say whether the suite finds the attacker's task done."""
        task = self.recording.injection_task
        return task is not None and self._judged(self.suite.get_injection_task_by_id(task))

    def _judged(self, task: Any) -> bool:
        answer = [text_content_block_from_string(self.recording.output)]
        try:
            # The suite has no public name for it; `run_task_with_pipeline` judges by this very call.
            return bool(self.suite._check_task_result(task, answer, self.before, self.after, self.trace))
        except (LookupError, ValueError, AttributeError, TypeError):
            return False  # a judge that looks for what is not there: not done


class _Environments:
    """The environment made last: making one costs far more than a run, and runs that share one come together."""

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


@lru_cache
def _runtime(version: str, suite: str) -> FunctionsRuntime:
    return FunctionsRuntime(get_suites(version)[suite].tools)


def _with_lists(args: Mapping[str, Any]) -> dict[str, Any]:
    """Read lists that a model wrote as text, as the benchmark's executor does."""
    read = dict(args)
    for name, value in args.items():
        if isinstance(value, str) and value.lstrip().startswith("["):
            try:
                said = literal_eval(value)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
            if isinstance(said, list):
                read[name] = said
    return read
