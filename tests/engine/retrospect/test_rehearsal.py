"""What each step of a policy test means, and how one that fails is shown."""
# ruff: noqa: E501  steps as they stand in a test, one a line

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.dsl.diagnostic import draw
from ringfence.dsl.load import Loaded, load, load_text
from ringfence.engine.retrospect.failures import drawn, record
from ringfence.engine.retrospect.rehearsal import Failure, rehearse

POLICIES = Path(__file__).parents[2] / "dsl" / "policies"
HEAD = "language 1\npolicy p\n"
DESK = (
    HEAD
    + """
levels public < secret
capability look is read
capability send is external
principal has tier: text, seats: integer
calendar hours = monday to friday 08:00 to 18:00 in "Europe/London"
function is_customer(address: email) gives boolean from "crm"
approver lead { group "leads" quorum 2 never the requester answer within 5 minutes otherwise ask boss }
approver boss { group "bosses" never the requester answer within 5 minutes otherwise deny }
approver lawyer { group "law" never the requester answer within 5 minutes otherwise deny }
agent desk {
  holds look, send
  stop after 5 minutes
  at most 6 calls
  at most 3 denials
  at most 2 approval requests
}
agent reader { holds look }
tool read {
  needs look
  takes what: text
  allow always
  result is secret when what == "secret"
  result is public otherwise
  rate 5 per minute for each session
}
tool mail {
  needs send
  takes to: email, body: text optional
  touches to as recipient
  allow when domain(to) == "acme.example" or is_customer(to)
  require tiered: principal.tier == "gold"
  ask lead when to == "boss@acme.example"
  blast radius 2 recipient per run
}
tool post {
  needs send
  takes text: text
  allow when during hours
  rate 2 per hour for each user counting attempts
}
tool copy {
  needs send
  takes text: text
  allow when text comes only from [user, read]
  redact text with pii
}
tool stop_all { needs send allow always rate 1 per day otherwise halt }
rule quiet: deny mail when after reading secret because "it was secret"
order look_first same text: copy then post
"""
)
WHO = 'as agent desk, user "alice", workspace "w1", tier "gold"\n'


def loaded(body: str, policy: str = DESK) -> Loaded:
    made = load_text(f'{policy}test "it" {{\n{body}\n}}\n', "p.fence")
    assert made.plan is not None, draw(made.diagnostics)
    return made


def failure_of(body: str, policy: str = DESK) -> Failure | None:
    made = loaded(body, policy)
    assert made.plan is not None
    (test,) = made.tests
    return rehearse(made.plan, test).failure


def passes(body: str, policy: str = DESK) -> None:
    made = loaded(body, policy)
    assert made.plan is not None
    (test,) = made.tests
    rehearsed = rehearse(made.plan, test)
    assert rehearsed.passed, drawn(rehearsed, made.source)


def fails(body: str, policy: str = DESK) -> Failure:
    failure = failure_of(body, policy)
    assert failure is not None, "every step came out as the test says"
    return failure


ANN, BOB, EVE = (f'mail(to: "{to}")' for to in ("ann@acme.example", "bob@acme.example", "eve@x.example"))
BOSS = 'mail(to: "boss@acme.example")'


# ---- what is expected --------------------------------------------------------------------------------


def test_a_call_is_allowed_denied_asks_or_is_not_found() -> None:
    passes(
        WHO
        + f"""call {ANN} is allowed
        call {EVE} is denied
        call {BOSS} asks lead
        call drop_all(x: 1) is not found
        """
    )


def test_a_tool_that_the_agent_does_not_hold_is_not_found() -> None:
    passes(
        f'as agent reader, user "a", tier "gold"\ncall {ANN} is not found\ncall read(what: "x") is allowed'
    )


def test_by_holds_if_the_reason_or_its_error_is_among_the_reasons() -> None:
    passes(WHO + f"call {EVE} is denied by mail.allow")
    passes(WHO + 'given is_customer("eve@x.example") gives false\n' + f"call {EVE} is denied by mail.allow")
    passes(WHO + f"call {BOSS} asks lead by mail.ask")
    failure = fails(WHO + f"call {EVE} is denied by mail.tiered")
    assert (failure.expected, failure.got) == ("denied, by `mail.tiered`", "denied")
    assert [reason.name for reason in failure.reasons] == ["mail.allow!error"]


def test_a_failure_says_what_was_expected_what_came_and_which_rule_spoke_where() -> None:
    made = loaded(WHO + 'ran read(what: "secret")\n' + f"call {ANN} is allowed")
    assert made.plan is not None
    rehearsed = rehearse(made.plan, made.tests[0])
    assert rehearsed.failure is not None
    text = drawn(rehearsed, made.source)
    rule = DESK[: DESK.index("rule quiet")].count("\n") + 1
    step = DESK.count("\n") + 4
    assert text == (
        f"failed: it\n  --> p.fence:{step}:1\n"
        f"   |\n{step} | call {ANN} is allowed\n"
        f"   | {'^' * len(f'call {ANN} is allowed')}\n"
        "   = expected: allowed\n   = got: denied\n"
        f"   = reason: deny by `quiet` (p.fence:{rule}:1): it was secret\n"
        f"   = reason: allow by `mail.allow` (p.fence:{DESK[: DESK.index('allow when domain')].count(chr(10)) + 1}:3)"
    )
    said = record(rehearsed.failure, made.source)
    assert (said["line"], said["expected"], said["got"]) == (step, "allowed", "denied")
    assert said["reasons"][0]["name"] == "quiet"


def test_a_reason_that_no_clause_gives_is_named_with_the_nearest_one() -> None:
    failure = fails(WHO + f"call {EVE} is denied by mail.alow")
    assert failure.help == "no clause of this policy gives `mail.alow`; did you mean `mail.allow`?"


def test_who_is_asked_must_be_the_one_that_the_test_names() -> None:
    failure = fails(WHO + f"call {BOSS} asks boss")
    assert (failure.expected, failure.got) == ("asks `boss`", "asks `lead`")
    assert fails(WHO + f"call {ANN} asks lead").got == "allowed"
    assert fails(WHO + f"call {BOSS} is allowed").got == "asks `lead`"
    assert fails(WHO + f"call {ANN} is not found").got == "allowed"


def test_a_test_stops_at_the_first_step_that_fails() -> None:
    made = loaded(WHO + f"call {ANN} is denied\ncall {BOB} is denied")
    assert made.plan is not None
    rehearsed = rehearse(made.plan, made.tests[0])
    assert rehearsed.calls == 1
    assert rehearsed.failure is not None
    assert made.source.text[rehearsed.failure.span.start :].startswith(f"call {ANN}")


# ---- what happened before ----------------------------------------------------------------------------


def test_ran_must_have_been_allowed() -> None:
    failure = fails(WHO + f"ran {EVE}")
    assert (failure.expected, failure.got) == ("to have run", "denied")
    failure = fails(WHO + f"ran {BOSS}")
    assert failure.got == "asks `lead`"
    failure = fails(WHO + f"ran {BOSS} signed by lawyer")
    assert (failure.expected, failure.got) == ("to have run, signed by `lawyer`", "asks `lead`")


def test_ran_may_have_been_signed_by_those_who_were_asked_or_by_the_next_one() -> None:
    passes(WHO + f"ran {BOSS} signed by lead")
    passes(WHO + f"ran {BOSS} signed by boss, lawyer")
    passes(WHO + f"ran {ANN} signed by lead")


def test_a_signature_does_not_open_what_is_denied() -> None:
    assert fails(WHO + f'ran read(what: "secret")\nran {BOSS} signed by lead').got == "denied"


def test_the_requester_that_nobody_named_cannot_be_told_from_those_who_sign() -> None:
    assert fails(f'as agent desk, tier "gold"\nran {BOSS} signed by lead').got == "asks `lead`"


def test_ran_charges_and_so_does_a_call_that_is_allowed() -> None:
    passes(
        WHO
        + f'ran {ANN}\ncall {BOB} is allowed\ncall {ANN} is allowed\ncall mail(to: "c@acme.example") is denied by mail.blast'
    )


def test_an_asking_call_is_withdrawn_it_frees_what_it_held_and_counts_as_a_request() -> None:
    passes(
        WHO
        + f"""call {ANN} is allowed
        call {BOSS} asks lead
        call {BOB} is allowed
        call {ANN} is allowed
        """
    )
    # The second question passes on to `boss`, so that the third would be one too many.
    passes(WHO + f"call {BOSS} asks lead\ncall {BOSS} asks lead\ncall {BOSS} is denied by desk.requests")
    passes(WHO + f"ran {BOSS} signed by boss\ncall {BOSS} is denied by desk.requests")


def test_what_was_returned_is_a_source_and_carries_its_level() -> None:
    passes(
        WHO
        + """ran read(what: "x") returning {rows: [{name: "Ann"}]}
        call copy(text: "Ann") is allowed
        call copy(text: "Bob") is denied by copy.allow
        prompt "tell Bob"
        call copy(text: "Bob") is allowed
        """
    )
    passes(WHO + f'ran read(what: "secret") returning "x"\ncall {ANN} is denied by quiet')


def test_a_result_is_bounded_before_it_counts_as_shown() -> None:
    policy = (
        HEAD
        + """
    tool rows { allow always result at most 1 rows rate 9 per day }
    tool use { takes x: text allow when x comes only from [rows] rate 9 per day }
    """
    )
    ran = 'ran rows() returning [{name: "Ann"}, {name: "Bob"}]\n'
    passes(ran + 'call use(x: "Ann") is allowed\ncall use(x: "Bob") is denied by use.allow', policy)
    passes("ran rows()\ncall rows() is allowed", policy)
    failure = fails('ran rows() returning "Ann"', policy)
    assert failure.got == "refused: rows are expected and the result is no list"


def test_an_order_looks_at_what_ran() -> None:
    at = 'at "2026-11-23 10:00 Europe/London"\nprompt "x y"\n'
    passes(
        WHO
        + at
        + 'call post(text: "x") is denied by look_first\nran copy(text: "x")\ncall post(text: "x") is allowed'
    )
    passes(WHO + at + 'ran copy(text: "y")\ncall post(text: "x") is denied by look_first')


# ---- limits of the run -------------------------------------------------------------------------------


def test_time_moves_with_wait_alone_and_the_run_ends_when_it_is_over() -> None:
    passes(
        WHO
        + f"call {ANN} is allowed\nwait 5 minutes\ncall {ANN} is denied by desk.stop\ncall {ANN} is denied by desk.stop"
    )
    passes(WHO + f"wait 299 seconds\ncall {ANN} is allowed")
    passes(
        f'wait 10 minutes\n{""}call read(what: "x") is denied by desk.stop',
        DESK.replace("agent reader { holds look }", ""),
    )


def test_a_run_that_was_halted_stays_so_until_the_next_one_begins() -> None:
    passes(
        WHO
        + f"""call stop_all() is allowed
        call stop_all() is denied by stop_all.rate
        call {ANN} is denied by stop_all.rate
        call nothing() is not found
        new run
        call {ANN} is allowed
        """
    )


def test_denials_count_and_unknown_tools_are_denials() -> None:
    passes(
        WHO
        + f"""call nothing() is not found
        call {EVE} is denied
        call nothing() is not found
        call {EVE} is denied by desk.denials
        """
    )


def test_a_new_run_keeps_the_session_and_begins_the_counters_of_runs_anew() -> None:
    passes(
        WHO
        + f"""ran {ANN}
        ran {BOB}
        ran read(what: "secret")
        new run
        call {ANN} is denied by quiet
        """
    )
    third = 'mail(to: "c@acme.example")'
    passes(
        WHO + f"ran {ANN}\nran {BOB}\ncall {third} is denied by mail.blast\nnew run\ncall {third} is allowed"
    )
    reads = 'ran read(what: "x")\n' * 3
    passes(
        WHO
        + reads
        + "new run\n"
        + 'ran read(what: "x")\n' * 2
        + 'call read(what: "x") is denied by read.rate'
    )


def test_the_next_run_may_be_somebody_elses() -> None:
    passes(
        WHO
        + f"""call {ANN} is allowed
        new run
        as agent desk, user "bob", workspace "w1", tier "silver"
        call {ANN} is denied by mail.tiered
        """
    )


def test_attempts_are_charged_though_the_call_is_denied() -> None:
    passes(
        WHO
        + """at "2026-11-22 10:00 Europe/London"
        call post(text: "x") is denied by post.allow
        call post(text: "x") is denied by post.allow
        at "2026-11-23 10:00 Europe/London"
        call post(text: "x") is denied by post.rate
        wait 1 hour
        """
    )


def test_windows_of_every_scope_follow_the_clock() -> None:
    policy = DESK.replace("stop after 5 minutes", "").replace("at most 6 calls", "")
    reads = 'ran read(what: "x")\n' * 5
    denied = 'call read(what: "x") is denied by read.rate\n'
    again = 'wait 1 second\ncall read(what: "x") is allowed\n'
    passes(WHO + reads + denied + "wait 59 seconds\n" + denied + again, policy)


# ---- time of day, plugins, the principal -------------------------------------------------------------


def test_at_sets_the_calendar_and_moves_no_time() -> None:
    policy = DESK.replace("order look_first same text: copy then post", "")
    passes(
        WHO
        + """call post(text: "x") is denied by post.allow
        at "2026-11-23 10:00 Europe/London"
        call post(text: "x") is allowed
        """,
        policy,
    )
    day = 'at "2026-11-23 10:00 Europe/London"\ncall post(text: "x") is allowed\nat "2026-11-24 10:00 Europe/London"\n'
    passes(WHO + day + 'call read(what: "x") is allowed', policy)
    passes(
        WHO
        + 'at "2026-11-23 17:58 Europe/London"\nwait 2 minutes\ncall post(text: "x") is denied by post.allow',
        policy,
    )


def test_an_hour_that_comes_twice_or_never_leaves_calendars_undecided() -> None:
    policy = DESK.replace("order look_first same text: copy then post", "").replace(
        "monday to friday 08:00 to 18:00", "monday to sunday 00:00 to 23:59"
    )
    for moment in ("2026-10-25 01:30", "2026-03-29 01:30"):
        passes(WHO + f'at "{moment} Europe/London"\ncall post(text: "x") is denied by post.allow', policy)
    failure = fails(WHO + 'at "2026-10-25 01:30 Europe/London"\ncall post(text: "x") is allowed', policy)
    assert [reason.name for reason in failure.reasons] == ["post.allow!error"]


def test_a_function_answers_what_was_given_and_nothing_else() -> None:
    passes(
        WHO
        + f"""call {EVE} is denied
        given is_customer("EVE@x.example") gives true
        call {EVE} is denied
        given is_customer("eve@X.example") gives true
        call {EVE} is allowed
        given is_customer("eve@x.example") gives false
        call {EVE} is denied by mail.allow
        """
    )


def test_the_functions_and_redactors_of_a_ceiling_are_given_by_their_own_names(tmp_path: Path) -> None:
    (tmp_path / "top.fence").write_text(
        'language 1\nceiling top\nfunction is_ours(x: text) gives boolean from "crm"\n'
        "rule ours: deny use when not is_ours(x)\nrule hide: redact x with pii for use\n"
    )
    (tmp_path / "p.fence").write_text(
        'language 1\npolicy p under "top.fence"\ntool use { takes x: text allow when x != "b" rate 9 per day }\n'
        'test "it" { call use(x: "a") is denied by ours given is_ours("a") gives true call use(x: "a") is allowed\n'
        'given pii("a") gives "b" call use(x: "a") is denied by use.allow }\n'
    )
    made = load(tmp_path / "p.fence")
    assert made.plan is not None, draw(made.diagnostics)
    rehearsed = rehearse(made.plan, made.tests[0])
    assert rehearsed.passed, drawn(rehearsed, made.source)


def test_a_redactor_leaves_the_value_unless_something_else_is_given() -> None:
    passes(WHO + 'prompt "Ann"\ncall copy(text: "Ann") is allowed')
    passes(
        WHO + 'prompt "Ann"\ngiven pii("Ann") gives "[name]"\ncall copy(text: "Ann") is denied by copy.allow'
    )


def test_what_the_test_does_not_say_of_the_user_denies_what_needs_it() -> None:
    failure = fails(f'as agent desk, user "alice"\ncall {ANN} is allowed')
    assert failure.reasons[0].name == "mail.tiered!key"


def test_attributes_are_said_in_their_types() -> None:
    policy = (
        HEAD
        + "principal has seats: integer, vip: boolean\ntool t { allow when principal.seats == 12 and principal.vip rate 1 per day }\n"
    )
    passes('as user "a", seats "12", vip true\ncall t() is allowed', policy)
    passes('as user "a", seats "12", vip "false"\ncall t() is denied by t.allow', policy)


def test_two_steps_alike_are_two_calls() -> None:
    passes(WHO + 'ran read(what: "x")\n' * 5 + 'call read(what: "x") is denied by read.rate')


def test_a_tool_bound_to_another_name_is_called_by_its_own() -> None:
    passes("call make() is allowed", HEAD + 'tool make is "github/create-issue" { allow always }\n')


def test_each_test_begins_with_nothing() -> None:
    text = (
        DESK
        + f'test "one" {{ {WHO} ran {ANN} ran {BOB} }}\ntest "two" {{ {WHO} call mail(to: "c@acme.example") is allowed }}\n'
    )
    made = load_text(text)
    assert made.plan is not None
    assert [rehearse(made.plan, test).passed for test in made.tests] == [True, True]


CALLS = [
    ANN, BOB, EVE, BOSS, 'read(what: "secret")', 'read(what: "x")', 'post(text: "x")', 'copy(text: "x")', "stop_all()", "gone()",
]  # fmt: skip
STEPS = st.lists(
    st.one_of(
        st.sampled_from(CALLS).map(lambda call: f"call {call} is not found"),
        st.sampled_from(CALLS[:-1]).map(lambda call: f"ran {call} returning [{{x: 1}}] signed by lead, boss"),
        st.sampled_from(
            [
                "wait 1 minute", "new run", 'prompt "x ann@acme.example"', 'at "2026-11-23 10:00 Europe/London"',
                'given is_customer("eve@x.example") gives true', 'given pii("x") gives "y"',
            ]
        ),
    ),
    max_size=12,
)  # fmt: skip
VERDICTS = ["is allowed", "is denied", "is not found", "asks lead", "asks boss"]


@settings(max_examples=30)
@given(STEPS)
def test_every_test_ends_alike_each_time_and_passes_once_it_says_what_happened(steps: list[str]) -> None:
    steps = list(steps)
    for _ in range(len(steps) * len(VERDICTS) + 1):
        failure = failure_of(WHO + "\n".join(steps))
        assert failure == failure_of(WHO + "\n".join(steps))
        if failure is None:
            return
        made = loaded(WHO + "\n".join(steps))
        step = made.source.place(failure.span).line - made.source.place(made.tests[0].span).line - 2
        if steps[step].startswith("ran"):
            del steps[step]
            continue
        word = next(word for word in VERDICTS if steps[step].endswith(word))
        steps[step] = steps[step].removesuffix(word) + VERDICTS[(VERDICTS.index(word) + 1) % len(VERDICTS)]
    raise AssertionError(f"nothing that can be said passes: {steps}")


def test_the_tests_of_the_specification_pass_on_its_own_policy() -> None:
    made = load(POLICIES / "support_desk_test.fence")
    assert made.plan is not None, draw(made.diagnostics)
    assert made.plan.layers == ("acme_org",)
    assert len(made.tests) == 3
    for test in made.tests:
        rehearsed = rehearse(made.plan, test)
        assert rehearsed.passed, drawn(rehearsed, made.source)
