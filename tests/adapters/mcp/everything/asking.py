"""Tools that ask the client something before they answer, in the way of either era."""

from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from tests.adapters.mcp.everything.content import text

Answer = types.CallToolResult | types.InputRequiredResult
Context = ServerRequestContext[Any, Any]
Given = dict[str, Any]

MISSING_CAPABILITY = -32021


def form(message: str, **properties: dict[str, Any]) -> types.ElicitRequest:
    schema: Any = {"type": "object", "properties": properties, "required": list(properties)}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(prompt: str, most: int = 100) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=text(prompt))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=most)
    )


def asked(requests: dict[str, Any], state: str | None = None) -> types.InputRequiredResult:
    return types.InputRequiredResult(input_requests=requests, request_state=state)


def done(said: str) -> types.CallToolResult:
    return types.CallToolResult(content=[text(said)])


STRING = {"type": "string"}
NAME = form("What is your name?", name=STRING)
FRANCE = "What is the capital of France?"


def _content(answers: Given, key: str, field: str) -> str | None:
    """Return one field of a form that was accepted, None if it was not."""
    answer = answers.get(key)
    content = getattr(answer, "content", None)
    found = content.get(field) if isinstance(content, dict) else None
    return found if isinstance(found, str) else None


def input_required(name: str, params: types.CallToolRequestParams, ctx: Context) -> Answer | None:
    """Answer one of the tools `test_input_required_result_…`, None if it is none of them."""
    answers: Given = dict(params.input_responses or {})
    state = params.request_state
    match name.removeprefix("test_input_required_result_"):
        case "elicitation":
            who = _content(answers, "user_name", "name")
            return done(f"Hello, {who}!") if who else asked({"user_name": NAME})
        case "sampling":
            said = getattr(getattr(answers.get("capital_question"), "content", None), "text", None)
            return done(said) if said else asked({"capital_question": sampling(FRANCE)})
        case "list_roots":
            roots = getattr(answers.get("client_roots"), "roots", None)
            if roots is None:
                return asked({"client_roots": types.ListRootsRequest()})
            return done(f"Roots: {', '.join(str(root.uri) for root in roots)}")
        case "request_state" | "tampered_state":
            if state == "asked" and "confirm" in answers:
                return done("state-ok")
            confirm = form("Please confirm", ok={"type": "boolean"})
            return asked({"confirm": confirm}, "asked")
        case "multiple_inputs":
            wanted = {"user_name", "greeting", "client_roots"}
            if state == "asked" and wanted <= answers.keys():
                return done(f"Hello, {_content(answers, 'user_name', 'name')}!")
            requests = {
                "user_name": NAME,
                "greeting": sampling("Generate a greeting", 50),
                "client_roots": types.ListRootsRequest(),
            }
            return asked(requests, "asked")
        case "multi_round":
            if state == "two" and "step2" in answers:
                return done(f"You like {_content(answers, 'step2', 'color')}.")
            if state == "one" and "step1" in answers:
                return asked({"step2": form("Step 2: What is your favorite color?", color=STRING)}, "two")
            return asked({"step1": form("Step 1: What is your name?", name=STRING)}, "one")
        case "capabilities":
            can = ctx.session.client_capabilities
            requests = {}
            if can is not None and can.sampling is not None:
                requests["question"] = sampling(FRANCE)
            if can is not None and can.elicitation is not None:
                requests["name"] = NAME
            return done("complete") if answers else asked(requests)
    return None


DEFAULTS: dict[str, dict[str, Any]] = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}


def _titled(prefix: str, title: str) -> list[dict[str, str]]:
    ordinals = ("First", "Second", "Third")
    return [{"const": f"{prefix}{i}", "title": f"{word} {title}"} for i, word in enumerate(ordinals, 1)]


OPTIONS = ["option1", "option2", "option3"]
ENUMS: dict[str, dict[str, Any]] = {
    "untitledSingle": {"type": "string", "enum": OPTIONS},
    "titledSingle": {"type": "string", "oneOf": _titled("value", "Option")},
    "legacyEnum": {
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": OPTIONS}},
    "titledMulti": {"type": "array", "items": {"anyOf": _titled("value", "Choice")}},
}


async def asked_inside(params: types.CallToolRequestParams, ctx: Context) -> Answer | None:
    """Answer a tool that asks while it works; None if it is none.

    A client of 2025-11-25 is asked inside of the call, one of 2026-07-28 by a result that requires input.
    """
    name, given = params.name, dict(params.arguments or {})
    if name == "test_sampling":
        request: Any = sampling(str(given.get("prompt", "")))
        lead = "LLM response: "
    elif name in _FORMS:
        lead, message, properties = _FORMS[name]
        request = form(str(given.get("message", message)), **properties)
    else:
        return None
    if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
        answer = (params.input_responses or {}).get("asked")
        if answer is None:
            return asked({"asked": request})
    elif name == "test_sampling":
        message, most = request.params.messages, request.params.max_tokens
        answer = await ctx.session.create_message(message, max_tokens=most, related_request_id=ctx.request_id)
    else:
        message, schema = request.params.message, request.params.requested_schema
        answer = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    if isinstance(answer, types.ElicitResult):
        return done(f"{lead}action={answer.action}, content={answer.content}")
    return done(f"{lead}{getattr(getattr(answer, 'content', None), 'text', '')}")


_USER: dict[str, dict[str, Any]] = {
    "username": {"type": "string", "description": "User's response"},
    "email": {"type": "string", "description": "User's email address"},
}
_FORMS: dict[str, tuple[str, str, dict[str, dict[str, Any]]]] = {
    "test_elicitation": ("User response: ", "", _USER),
    "test_elicitation_sep1034_defaults": ("Elicitation completed: ", "Please review", DEFAULTS),
    "test_elicitation_sep1330_enums": ("Elicitation completed: ", "Please choose", ENUMS),
}


def require_sampling(ctx: Context) -> types.CallToolResult:
    can = ctx.session.client_capabilities
    if can is None or can.sampling is None:
        wanted: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(MISSING_CAPABILITY, "this tool needs sampling", wanted)
    return done("the client can sample")
