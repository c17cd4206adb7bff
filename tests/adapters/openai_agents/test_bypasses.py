"""Ways around the guard that this SDK would have, none of which leads anywhere."""

import json
from typing import Any

import pytest
from agents import (
    Agent,
    FunctionTool,
    GuardrailFunctionOutput,
    RunConfig,
    RunHooks,
    Runner,
    ToolGuardrailFunctionOutput,
    WebSearchTool,
    function_tool,
    tool_input_guardrail,
)
from agents.testing import ModelStep, ScriptedModel
from agents.tool_context import ToolContext
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseComputerToolCall,
    ResponseCustomToolCall,
    ResponseOutputItemDoneEvent,
)

from ringfence import EngineError
from ringfence.adapters.openai_agents import GuardedRunner, NoRunError
from tests.adapters.openai_agents.conftest import LoadGuard
from tests.adapters.openai_agents.desk import (
    ADD,
    ALICE,
    SEND,
    Ran,
    agent_of,
    asks,
    events,
    offered,
    says,
    script,
    told,
    verdicts,
)

TOO_MUCH = asks("add", {"amount": 500})


def causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None:
        found.append(one)
        one = one.__cause__ or one.__context__
    return found


async def test_a_guarded_agent_that_another_runner_runs_asks_no_model(load: LoadGuard) -> None:
    ran = Ran()
    agent = agent_of([ran.add()], asks("add", {"amount": 5}))
    guarded = GuardedRunner(load(ADD)).guarded(agent)
    with pytest.raises(Exception) as raised:
        await Runner.run(guarded, "go")
    assert any(isinstance(one, NoRunError) for one in causes(raised.value))
    assert ran == [] and agent.model.calls == ()  # type: ignore[union-attr]


async def test_with_a_model_of_its_own_that_runner_still_runs_no_tool(load: LoadGuard) -> None:
    ran = Ran()
    guarded = GuardedRunner(load(ADD)).guarded(agent_of([ran.add()]))
    raw = script(asks("add", {"amount": 5}))
    with pytest.raises(Exception) as raised:
        await Runner.run(guarded, "go", run_config=RunConfig(model=raw))
    assert any(isinstance(one, NoRunError) for one in causes(raised.value))
    assert ran == []


async def test_a_guarded_tool_that_is_called_by_itself_raises(load: LoadGuard) -> None:
    ran = Ran()
    (tool,) = GuardedRunner(load(ADD)).guarded(agent_of([ran.add()])).tools
    assert isinstance(tool, FunctionTool)
    context: ToolContext[Any] = ToolContext(None, tool_name="add", tool_call_id="c1", tool_arguments="{}")
    with pytest.raises(NoRunError):
        await tool.on_invoke_tool(context, '{"amount": 5}')
    assert ran == []


@pytest.mark.parametrize("how", ["clone", "append", "assign", "original"])
async def test_tools_that_come_after_guarding_are_guarded(load: LoadGuard, how: str) -> None:
    ran, guard = Ran(), load(ADD)
    runner = GuardedRunner(guard)
    agent = agent_of([], TOO_MUCH)
    guarded: Any = runner.guarded(agent)
    if how == "clone":
        guarded = guarded.clone(tools=[ran.add()])
    elif how == "append":
        guarded.tools.append(ran.add())
    elif how == "assign":
        guarded.tools = [ran.add()]
    else:
        agent.tools.append(ran.add())
        guarded = agent
    await runner.run(guarded, "go", principal=ALICE)
    assert ran == [] and verdicts(guard) == ["deny"]


async def test_a_body_put_into_a_guarded_tool_is_guarded(load: LoadGuard) -> None:
    ran, guard = Ran(), load(ADD)
    runner = GuardedRunner(guard)
    guarded: Any = runner.guarded(agent_of([ran.add()], TOO_MUCH))

    async def raw(context: Any, text: str) -> str:
        ran.append(text)
        return "done"

    guarded.tools[0].on_invoke_tool = raw
    await runner.run(guarded, "go", principal=ALICE)
    assert ran == [] and verdicts(guard) == ["deny"]


async def test_a_subclass_that_lists_tools_of_its_own_is_guarded(load: LoadGuard) -> None:
    ran, guard = Ran(), load(ADD)

    class More(Agent[Any]):
        async def get_all_tools(self, run_context: Any) -> list[Any]:
            return [*(await super().get_all_tools(run_context)), ran.add()]

    agent = More(name="desk", model=script(TOO_MUCH, asks("add", {"amount": 5}, "c2")))
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert ran == [5] and verdicts(guard) == ["deny", "allow"]


def test_an_agent_whose_methods_were_exchanged_is_refused(load: LoadGuard) -> None:
    agent = agent_of([])
    agent.__dict__["get_all_tools"] = agent.get_all_tools
    with pytest.raises(TypeError, match="exchanged"):
        GuardedRunner(load(ADD)).guarded(agent)


async def test_methods_that_are_exchanged_later_offer_nothing_unguarded(load: LoadGuard) -> None:
    ran, guard = Ran(), load(ADD)
    runner = GuardedRunner(guard)
    guarded = runner.guarded(agent_of([], TOO_MUCH))

    async def raw(_: Any) -> list[Any]:
        return [ran.add()]

    async def with_run(context: Any) -> list[Any]:
        await type(guarded).get_all_tools(guarded, context)
        return await raw(context)

    guarded.__dict__["get_all_tools"] = with_run
    with pytest.raises(EngineError, match="not guarded"):
        await runner.run(guarded, "go", principal=ALICE)
    assert ran == []


async def test_an_agent_of_another_guard_is_refused(load: LoadGuard) -> None:
    theirs = GuardedRunner(load(ADD)).guarded(agent_of([]))
    with pytest.raises(EngineError, match="another guard"):
        await GuardedRunner(load(ADD)).run(theirs, "go", principal=ALICE)


class Meddling(RunHooks[Any]):
    async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:
        context.tool_arguments = '{"amount": 1}'
        context.tool_input = {"ringfence": {"runs": ["run-0"], "asked": []}}


async def test_a_body_reads_in_its_context_what_was_decided(load: LoadGuard) -> None:
    seen: list[Any] = []
    guard = load("tool mail { needs work  takes to: email  allow always }")

    @function_tool
    def mail(context: ToolContext[Any], to: str) -> str:
        """Mail."""
        seen.append((to, json.loads(context.tool_arguments), json.loads(context.tool_call.arguments)))  # type: ignore[union-attr]
        return "ok"

    agent = agent_of([mail], asks("mail", {"to": "Ann@ACME.example"}))
    await GuardedRunner(guard).run(agent, "go", principal=ALICE, hooks=Meddling())
    said = {"to": "Ann@acme.example"}
    assert seen == [("Ann@acme.example", said, said)]


@pytest.mark.parametrize(
    "text",
    [
        '{"amount": 5, "amount": 500}',
        '{"amount": NaN}',
        '{"amount": 1e400}',
        "[5]",
        '{"amount": 9007199254740993}',
    ],
)
@pytest.mark.parametrize("clauses", [ADD, ADD.replace("allow when", "ask lead  allow when")])
async def test_arguments_that_readers_differ_about_run_nothing_and_ask_nobody(
    load: LoadGuard, text: str, clauses: str
) -> None:
    ran, guard = Ran(), load(clauses)
    agent = agent_of([ran.add()], asks("add", text))
    result = await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert ran == [] and result.interruptions == [] and verdicts(guard) == ["deny"]
    assert told(agent.model) == ["not authorized"]


async def test_an_alias_that_the_schema_does_not_show_is_no_way_to_another_value(load: LoadGuard) -> None:
    ran: list[Any] = []
    guard = load('tool send { needs work  takes to: text  allow when to == "bob" }')

    async def body(context: Any, text: str) -> str:
        said = json.loads(text)
        ran.append(said.get("recipient", said["to"]))
        return "sent"

    schema = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
    tool = FunctionTool("send", "Send.", schema, body, strict_json_schema=False)
    agent = agent_of([tool], asks("send", {"to": "bob", "recipient": "eve"}))
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert ran == [] and verdicts(guard) == ["deny"]


async def test_a_schema_from_afar_is_neither_fetched_nor_run_for_ever(load: LoadGuard) -> None:
    ran, guard = Ran(), load("tool odd { needs work  takes a: text  allow always }")
    schemas: list[dict[str, Any]] = [
        {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/schema"}}},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}},
    ]

    async def body(context: Any, text: str) -> str:
        ran.append(text)
        return "ok"

    for schema in schemas:
        tool = FunctionTool("odd", "Odd.", schema, body, strict_json_schema=False)
        await GuardedRunner(guard).run(
            agent_of([tool], asks("odd", {"a": "a" * 40 + "!"})), "go", principal=ALICE
        )
    assert verdicts(guard) == ["deny", "allow"] and len(ran) == 1


async def test_the_hosts_own_checks_do_not_charge_a_call_twice(load: LoadGuard) -> None:
    ran, guard = Ran(), load("tool add { needs work  takes amount: integer  allow always  rate 1 per run }")
    looked: list[str] = []

    @tool_input_guardrail
    def look(data: Any) -> ToolGuardrailFunctionOutput:
        looked.append(data.context.tool_arguments)
        return ToolGuardrailFunctionOutput.allow()

    tool = ran.add()
    tool.tool_input_guardrails = [look]
    agent = agent_of([tool], asks("add", {"amount": 5}))
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert ran == [5] and looked and verdicts(guard) == ["allow"]


async def test_a_call_that_the_hosts_check_rejects_runs_nothing(load: LoadGuard) -> None:
    ran, guard = Ran(), load(ADD)

    @tool_input_guardrail
    def no(data: Any) -> ToolGuardrailFunctionOutput:
        return ToolGuardrailFunctionOutput.reject_content("not this one")

    tool = ran.add()
    tool.tool_input_guardrails = [no]
    agent = agent_of([tool], asks("add", {"amount": 5}))
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert ran == [] and told(agent.model) == ["not this one"]


async def test_a_provider_side_tool_is_offered_only_if_the_policy_declares_it(
    load: LoadGuard, capsys: pytest.CaptureFixture[str]
) -> None:
    for clauses, names in [
        (ADD, {"add"}),
        (ADD + "tool web_search { needs work  allow always }", {"add", "web_search"}),
    ]:
        agent = agent_of([Ran().add(), WebSearchTool()])
        await GuardedRunner(load(clauses)).run(agent, "go", principal=ALICE)
        assert offered(agent.model) == [names]
    assert "`web_search` is not offered to the model" in capsys.readouterr().err


def _here() -> list[Any]:
    from agents import ApplyPatchTool, LocalShellTool, ShellTool

    class Editor:
        def create_file(self, operation: Any) -> None:
            raise AssertionError("the editor ran")

        update_file = delete_file = create_file

    def run(request: Any) -> str:
        raise AssertionError("the shell ran")

    return [ShellTool(executor=run), LocalShellTool(executor=run), ApplyPatchTool(editor=Editor())]


async def test_tools_that_the_sdk_runs_here_are_never_offered(load: LoadGuard) -> None:
    """Even if the policy declares them: what they do is no call with arguments."""
    names = ("shell", "local_shell", "apply_patch", "custom")
    guard = load("".join(f"tool {name} {{ needs work  allow always }}\n" for name in names))
    agent = agent_of(_here())
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert offered(agent.model) == [set()]


def whole(output: list[Any]) -> list[Any]:
    """Return the events of a stream that says this."""
    done = [
        ResponseOutputItemDoneEvent.model_construct(
            type="response.output_item.done", item=item, output_index=at, sequence_number=at
        )
        for at, item in enumerate(output)
    ]
    response = Response.model_construct(
        id="r1", created_at=0, model="script", object="response", output=output, tools=[], usage=None
    )
    end = ResponseCompletedEvent.model_construct(
        type="response.completed", response=response, sequence_number=len(output)
    )
    return [*done, end]


CALLS: list[Any] = [
    {
        "type": "shell_call",
        "call_id": "x1",
        "action": {"commands": ["rm -rf /"]},
        "status": "completed",
        "id": "x1",
    },
    {
        "type": "apply_patch_call",
        "call_id": "x1",
        "id": "x1",
        "status": "completed",
        "operation": {"type": "delete_file", "path": "a"},
    },
    ResponseCustomToolCall(type="custom_tool_call", call_id="x1", name="conjure", input="x"),
    ResponseComputerToolCall(
        type="computer_call",
        call_id="x1",
        id="x1",
        action={"type": "screenshot"},  # type: ignore[arg-type]
        pending_safety_checks=[],
        status="completed",
    ),
]


@pytest.mark.parametrize("call", CALLS, ids=["shell", "patch", "custom", "computer"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_call_of_a_kind_that_was_not_offered_is_a_refusal(
    load: LoadGuard, call: Any, streamed: bool
) -> None:
    guard = load(ADD)
    agent = agent_of([*_here(), Ran().add()], ModelStep.stream(whole([call])) if streamed else [call])
    runner = GuardedRunner(guard)
    if streamed:
        stream = runner.run_streamed(agent, "go", principal=ALICE)
        async for _ in stream.stream_events():
            pass
    else:
        await runner.run(agent, "go", principal=ALICE)
    assert verdicts(guard) == ["unknown"] and told(agent.model) == ["tool not found"]


@pytest.mark.parametrize("name", ["apply_patch", "shell", "transfer_to_nobody", "desk.add", "json_tool_call"])
async def test_a_name_that_the_sdk_treats_apart_is_unknown_too(load: LoadGuard, name: str) -> None:
    guard = load(ADD)
    agent = agent_of([Ran().add()], asks(name, {}))
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert verdicts(guard) == ["unknown"] and told(agent.model) == ["tool not found"]


async def test_the_hosts_formatter_names_no_tool_to_the_model(load: LoadGuard) -> None:
    agent = agent_of([Ran().add()], asks("wipe_disk", {}))
    config = RunConfig(
        tool_not_found_behavior="raise_error",
        tool_error_formatter=lambda args: f"no {args.tool_name}, only add",
    )
    guard = load(ADD)
    await GuardedRunner(guard).run(agent, "go", principal=ALICE, run_config=config)
    assert told(agent.model) == ["tool not found"] and verdicts(guard) == ["unknown"]


async def test_a_model_of_the_run_config_is_recorded_like_the_agents_own(load: LoadGuard) -> None:
    ran, guard = Ran(), load(ADD)
    raw = script(TOO_MUCH)
    agent = agent_of([ran.add()])
    await GuardedRunner(guard).run(agent, "go", principal=ALICE, run_config={"model": raw})
    assert ran == [] and len(events(guard, "ModelAsked")) == len(raw.calls) == 2


async def test_a_model_that_raises_is_recorded_and_its_run_has_failed(load: LoadGuard) -> None:
    guard = load(ADD)
    agent = Agent(name="desk", model=ScriptedModel([ModelStep.raise_error(RuntimeError("away"))]))
    with pytest.raises(RuntimeError, match="away"):
        await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    (answered,) = events(guard, "ModelAnswered")
    assert "away" in str(answered.error)  # type: ignore[attr-defined]
    assert [row.status for row in guard.runs.list()] == ["failed"]


async def test_dynamic_instructions_are_in_the_record(load: LoadGuard) -> None:
    guard = load(ADD)
    agent = agent_of([], instructions=lambda context, agent: f"You are {agent.name}.")
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    (asked,) = events(guard, "ModelAsked")
    assert asked.messages[0] == {"role": "system", "content": "You are desk."}  # type: ignore[attr-defined]


async def test_a_body_that_runs_an_agent_of_its_own_does_so_outside(load: LoadGuard) -> None:
    """A guarded one raises there; by the runner, it is a run inside of this one."""
    ran, guard = (
        Ran(),
        load(ADD + "tool ask_other { needs work  allow always }\ntool ask_bare { needs work  allow always }"),
    )
    runner = GuardedRunner(guard)
    other = agent_of([ran.add()], asks("add", {"amount": 7}))

    @function_tool
    async def ask_other() -> str:
        """Ask."""
        return str((await runner.run(other, "go")).final_output)

    @function_tool
    async def ask_bare() -> str:
        """Ask."""
        await Runner.run(runner.guarded(other), "go")
        return "ran"

    agent = agent_of([ask_other, ask_bare], asks("ask_other", {}), asks("ask_bare", {}, "c2"))
    with pytest.raises(NoRunError):
        await runner.run(agent, "go", principal=ALICE)
    assert ran == [7]
    began = events(guard, "RunStarted")
    assert [one.parent is None for one in began] == [True, False]  # type: ignore[attr-defined]
    assert all(one.principal["user"] == "alice" for one in began)  # type: ignore[attr-defined]


async def test_guardrails_of_the_sdk_still_trip(load: LoadGuard) -> None:
    from agents import InputGuardrailTripwireTriggered, input_guardrail

    @input_guardrail
    def trip(context: Any, agent: Any, given: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    guard = load(ADD)
    with pytest.raises(InputGuardrailTripwireTriggered):
        await GuardedRunner(guard).run(agent_of([], says(), input_guardrails=[trip]), "go", principal=ALICE)
    assert [row.status for row in guard.runs.list()] == ["failed"]


async def test_a_stopped_conversation_ends_its_run(load: LoadGuard) -> None:
    from agents import MaxTurnsExceeded

    guard = load(SEND + ADD)
    agent = agent_of([Ran().add()], asks("add", {"amount": 1}), asks("add", {"amount": 2}, "c2"))
    with pytest.raises(MaxTurnsExceeded):
        await GuardedRunner(guard).run(agent, "go", principal=ALICE, max_turns=1)
    assert [row.status for row in guard.runs.list()] == ["failed"]
