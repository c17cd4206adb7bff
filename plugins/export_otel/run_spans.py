"""The spans of one run, from its events in their order: a fold that holds no more than what is still open.

The run's own span begins with `RunStarted` and comes last, with `RunEnded`.  Model calls and tool calls come
when they have ended; what has not is closed with the run.
"""

from typing import Any, Final

from ringfence.plugin import Event, Json
from ringfence.plugins.export_otel.call_span import OpenCall
from ringfence.plugins.export_otel.span import (
    Moment,
    Span,
    Value,
    content_of,
    count_of,
    id_of,
    known,
    name_of,
    span_id,
)

_MOMENTS_AT_MOST: Final = 128
_OPEN_AT_MOST: Final = 1_000
"""Calls, and requests to models, of one run that are open at once; the oldest are closed for more."""

_STATUSES: Final = frozenset({"done", "failed", "halted"})
_NUMBERS: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
}
"""Parameter of a request, as frameworks call it -> what follows `gen_ai.request.`."""


class RunSpans:
    """One run whose end has not been seen.

    Args:
        trace: The trace of the run that is around all.
        content: True: prompts, messages, arguments, results and errors are in the spans, too.
    """

    def __init__(self, run: str, *, trace: int, content: bool) -> None:
        self.run = run
        self.trace = trace
        self.last = 0
        """Number of the last event that was taken."""
        self.parent: str | None = None
        """The run that started this one."""
        self._content = content
        self._id = span_id(run)
        self._start_ns = 0
        self._begun = False
        self._shared: dict[str, Value] = known(ringfence__run=name_of(run))
        self._own: dict[str, Value] = {}
        self._calls: dict[str, OpenCall] = {}
        self._requests: dict[str, tuple[int, dict[str, Any]]] = {}
        self._moments: list[Moment] = []
        self._counts = {"calls": 0, "denied": 0}
        self._tokens: dict[str, int] = {}
        self._halted: str | None = None

    def take(self, event: Event, *, around: int | None = None) -> list[Span]:
        """Take the run's next event; return the spans that it completes.

        Args:
            around: With the run's end: the span that its own stands in; None: none, it is a trace's root.
        """
        self.last = event.seq
        self._start_ns = self._start_ns or event.at_ns
        body: dict[str, Any] = dict(event.body) if isinstance(event.body, dict) else {}
        match event.kind:
            case "RunStarted":
                self._begin(body)
            case "PromptGiven":
                self._prompt(event, body)
            case "ModelAsked":
                return self._request(event, body)
            case "ModelAnswered" if body:  # a purged one does not say whose answer it was
                return [self._answer(event, body)]
            case "CallRequested":
                return self._call(event, body)
            case "RunSuspended":
                self._note("suspended", event.at_ns)
            case "RunResumed":
                self._note("resumed", event.at_ns)
            case "RunHalted":
                self._halted = name_of(body.get("reason")) or "halted"
                said: dict[str, Value] = {"ringfence.because": self._halted}
                if self._content:
                    said |= known(ringfence__by=name_of(body.get("by")))
                    if body.get("detail") is not None:
                        said["ringfence.detail"] = content_of(body["detail"])
                self._remember(Moment("ringfence.halted", event.at_ns, said))
            case "RunEnded":
                return self._end(event, body, around)
            case _ if isinstance(key := body.get("call"), str) and key in self._calls:
                return self._of_call(event, body, self._calls[key])
        return []

    def _begin(self, body: dict[str, Any]) -> None:
        self._begun = True
        parent = body.get("parent")
        self.parent = parent if isinstance(parent, str) else None
        self._shared |= known(
            gen_ai__agent__name=name_of(body.get("agent")),
            gen_ai__conversation__id=name_of(body.get("session")),
            ringfence__policy=name_of(body.get("policy")),
            ringfence__policy__digest=name_of(body.get("policy_digest")),
        )
        self._own = known(
            ringfence__framework=name_of(body.get("framework")),
            ringfence__mode=name_of(body.get("mode")),
            ringfence__parent=name_of(self.parent),
        )
        if self._content and body.get("principal"):
            self._own["ringfence.principal"] = content_of(body["principal"])

    def _prompt(self, event: Event, body: dict[str, Any]) -> None:
        said = known(ringfence__source=name_of(body.get("source")))
        if self._content and body.get("text") is not None:
            said["ringfence.text"] = content_of(body["text"])
        self._remember(Moment("ringfence.prompt", event.at_ns, said))

    # ---- models ------------------------------------------------------------------------------------

    def _request(self, event: Event, body: dict[str, Any]) -> list[Span]:
        spans = []
        if len(self._requests) >= _OPEN_AT_MOST:
            oldest = next(iter(self._requests))
            spans = [self._model(oldest, event.at_ns, {"error.type": "unknown"}, {})]
        request = body.get("request")
        if isinstance(request, str):
            self._requests[request] = (event.at_ns, body)
        return spans

    def _answer(self, event: Event, body: dict[str, Any]) -> Span:
        request = body.get("request")
        request = request if isinstance(request, str) else event.id
        duration_ns = count_of(body.get("duration_ns")) or 0
        self._requests.setdefault(request, (event.at_ns - max(0, duration_ns), {}))
        failed = body.get("error") is not None
        said: dict[str, Value] = known(
            # Its text is content, and no kind of error is recorded.
            error__type="_OTHER" if failed else None,
            ringfence__duration_s=duration_ns / 1e9,
            ringfence__event=event.id if id_of(event.id) else None,
            ringfence__hash=event.hash,
        )
        return self._model(request, event.at_ns, {**said, **self._usage(body.get("usage"))}, body)

    def _model(self, request: str, at_ns: int, said: dict[str, Value], answer: dict[str, Any]) -> Span:
        start_ns, asked = self._requests.pop(request)
        model = name_of(asked.get("model"))
        attributes = {
            **self._shared,
            **known(gen_ai__operation__name="chat", gen_ai__request__model=model),
            **_parameters(asked.get("parameters")),
            **said,
        }
        if self._content:
            for body, name in (
                (asked, "messages"),
                (asked, "tools"),
                (answer, "messages"),
                (answer, "error"),
            ):
                if body.get(name) is not None:
                    what = "request" if body is asked else "answer"
                    attributes[f"ringfence.{what}.{name}"] = content_of(body[name])
        return Span(
            self.trace, span_id(self.run, "model", request), self._id, f"chat {model}" if model else "chat",
            "client", start_ns, max(at_ns, start_ns), attributes, failed="error.type" in said,
        )  # fmt: skip

    def _usage(self, usage: Json) -> dict[str, Value]:
        if not isinstance(usage, dict):
            return {}
        found = {
            name: count
            for name, keys in (("input", ("input_tokens", "prompt_tokens")),
                               ("output", ("output_tokens", "completion_tokens")))
            if (count := next((n for key in keys if (n := count_of(usage.get(key))) is not None), None))
            is not None
        }  # fmt: skip
        for name, count in found.items():
            self._tokens[name] = self._tokens.get(name, 0) + count
        said: dict[str, Value] = {f"gen_ai.usage.{name}_tokens": count for name, count in found.items()}
        for details, part, name in (
            ("input_token_details", "cache_read", "gen_ai.usage.cache_read.input_tokens"),
            ("output_token_details", "reasoning", "gen_ai.usage.reasoning.output_tokens"),
        ):
            record = usage.get(details)
            tokens = count_of(record.get(part)) if isinstance(record, dict) else None
            if tokens is not None:
                said[name] = tokens
        return said

    # ---- calls -------------------------------------------------------------------------------------

    def _call(self, event: Event, body: dict[str, Any]) -> list[Span]:
        key = body.get("call")
        if not isinstance(key, str) or key in self._calls:
            return []
        spans = []
        if len(self._calls) >= _OPEN_AT_MOST:
            spans = self._done(
                next(iter(self._calls)), self._calls[next(iter(self._calls))].close(event.at_ns)
            )
        parent = body.get("parent")
        outer = self._calls.get(parent) if isinstance(parent, str) else None
        self._counts["calls"] += 1
        self._calls[key] = OpenCall(
            self.run, self.trace, key, self._id if outer is None else outer.inside, event.at_ns,
            self._shared, name_of(body.get("tool")), id_of(body.get("call_id")), self._content,
            body.get("arguments") if self._content else None,
        )  # fmt: skip
        return spans

    def _of_call(self, event: Event, body: dict[str, Any], call: OpenCall) -> list[Span]:
        spans = call.take(event, body)
        return self._done(call.key, spans) if any(span.id == call.id for span in spans) else spans

    def _done(self, key: str, spans: list[Span]) -> list[Span]:
        self._calls.pop(key)
        self._counts["denied"] += any(span.attributes.get("ringfence.outcome") == "denied" for span in spans)
        return spans

    # ---- the end -----------------------------------------------------------------------------------

    def _end(self, event: Event, body: dict[str, Any], around: int | None) -> list[Span]:
        spans = [
            self._model(request, event.at_ns, {"error.type": "unknown"}, {})
            for request in tuple(self._requests)
        ]
        for key in tuple(self._calls):
            spans += self._done(key, self._calls[key].close(event.at_ns))
        status = body.get("status")
        status = status if isinstance(status, str) and status in _STATUSES else "failed"
        if self._content and body.get("error") is not None:
            self._own["ringfence.error"] = content_of(body["error"])
        said: dict[str, Value] = {
            **self._shared,
            **self._own,
            **known(
                gen_ai__operation__name="invoke_agent",
                gen_ai__usage__input_tokens=count_of(self._tokens.get("input")),
                gen_ai__usage__output_tokens=count_of(self._tokens.get("output")),
                ringfence__status=status,
                ringfence__halted=self._halted,
                ringfence__calls=self._counts["calls"],
                ringfence__denied=self._counts["denied"],
                ringfence__incomplete=None if self._begun else True,
                ringfence__event=event.id if id_of(event.id) else None,
                ringfence__hash=event.hash,
                error__type=None if status == "done" else status,
            ),
        }
        agent = self._shared.get("gen_ai.agent.name")
        spans.append(
            Span(
                self.trace, self._id, around, f"invoke_agent {agent}" if agent else "invoke_agent",
                "internal", self._start_ns, max(event.at_ns, self._start_ns), said, tuple(self._moments),
                failed=status != "done",
            )
        )  # fmt: skip
        return spans

    def _note(self, name: str, at_ns: int) -> None:
        self._remember(Moment(f"ringfence.{name}", at_ns))

    def _remember(self, moment: Moment) -> None:
        if len(self._moments) < _MOMENTS_AT_MOST:
            self._moments.append(moment)


def _parameters(parameters: Json) -> dict[str, Value]:
    """Return the parameters of a request that are numbers; texts may be content."""
    if not isinstance(parameters, dict):
        return {}
    said: dict[str, Value] = {}
    for name, attribute in _NUMBERS.items():
        value: Any = parameters.get(name)
        if type(value) is float or count_of(value) is not None:
            said[f"gen_ai.request.{attribute}"] = value
    if type(parameters.get("stream")) is bool:
        said["gen_ai.request.stream"] = parameters["stream"]
    return said
