"""One run as a part of the page: what it was, where its time went, what it carried, and its steps."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ringfence.cli.page.calls import Drawer, call_step
from ringfence.cli.page.clauses import Clauses
from ringfence.cli.page.model import Band, Bar, Level, Section, Step
from ringfence.cli.page.moments import moment_step, usage_of
from ringfence.cli.page.rows import MOST, Row, chosen, rows
from ringfence.cli.page.texts import Texts
from ringfence.cli.page.times import Times, took, when
from ringfence.engine.decision import events as e
from ringfence.engine.decision.records import texts_of
from ringfence.engine.retrospect.levels import Levels, levels
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.retrospect.timeline import CallStep, Moment
from ringfence.engine.retrospect.verify import Fault
from ringfence.engine.seams.ports import RunRow

_STRIKING = 40
_BANDS = 12
_FILE = 60_000
"""Characters of one text of the policy."""
_TONES = {"done": "allow", "running": "plain", "suspended": "ask", "halted": "deny", "failed": "failed"}
_LANES = (("model", "model"), ("body", "tool bodies"), ("people", "people asked"))
_RAISED = {
    e.RunStarted.kind: "carried over from earlier runs of the session",
    e.PromptGiven.kind: "raised by messages whose origin the host did not say",
    e.CallFinished.kind: "raised by this result",
    e.SubrunJoined.kind: "raised by what the inner run has read",
    e.RunEnded.kind: "raised at the end: a result in flight may have been read",
}


def section(
    record: RunRecord,
    row: RunRow,
    fault: Fault | None,
    texts: Texts,
    *,
    anchor: str,
    inner: Mapping[str, str],
    most: int = MOST,
    whole: bool = True,
) -> Section:
    """Gather what the page shows of one run.

    Args:
        row: What the list of runs says of it.
        fault: The first bad event of its chain; None: nothing was changed.
        inner: The anchors of the runs inside of it that stand on the page, by their ids.
        most: Rows that are shown.
        whole: With the texts of the policy.
    """
    first = record.events[0].event if record.events else None
    begun = first if isinstance(first, e.RunStarted) else None
    files = {one.name: one.text for one in texts_of(begun)} if begun is not None else {}
    times = _times(record, row)
    by = Drawer(texts, times, Clauses(files))
    found = rows(record)
    known, unlevelled = _levels(record)
    _place_rises(found, known)
    kept = chosen(found, most)
    steps = tuple(_steps(kept, by, record, known, anchor, inner))
    missing = len(found) - len(kept)
    cut = [f"{missing:,} of {len(found):,} steps are left out where the page says so"] if missing else []
    if len(known.names) > _BANDS:
        cut.append(f"the chart shows the highest {_BANDS} of {len(known.names):,} levels")
    cut += _without_bodies(record, texts)
    striking = [(step.anchor, _first_tone(step), _striking(step)) for step in steps if _strikes(step)]
    if len(striking) > _STRIKING:
        cut.append(f"the list of what to look at first ends after {_STRIKING} of {len(striking):,}")
    return Section(
        anchor=anchor,
        run=texts.line(row.run, 120),
        heading=texts.line(row.agent, 120),
        status=texts.line(row.status, 40),
        tone=_TONES.get(row.status, "unknown"),
        facts=tuple(_facts(record, row, begun, texts)),
        chain=_chain(row, fault, texts),
        intact=fault is None,
        tallies=tuple(_tallies(found)),
        ticks=times.ticks(),
        lanes=tuple(_lanes(steps)),
        bands=tuple(_bands(known, record, times, texts)),
        unlevelled=texts.line(unlevelled, 500),
        levelled=bool(known.names),
        striking=tuple(striking[:_STRIKING]),
        steps=steps,
        cut=tuple(cut),
        files=tuple(
            (texts.line(name.replace("\\", "/").rsplit("/", 1)[-1], 120), texts.block(text, _FILE))
            for name, text in (files.items() if whole else ())
        ),
    )


def _times(record: RunRecord, row: RunRow) -> Times:
    moments = [one.at_ns for one in record.events] or [row.started_ns, row.last_ns]
    return Times(min(moments), max(moments))


def _purges(record: RunRecord) -> list[tuple[int, e.BodiesPurged]]:
    """Return the run's purges, each with its moment."""
    return [(one.at_ns, one.event) for one in record.events if isinstance(one.event, e.BodiesPurged)]


def _without_bodies(record: RunRecord, texts: Texts) -> Iterator[str]:
    """Say which events say nothing any more, and since when; what no purge says was changed."""
    purges = _purges(record)
    upto = max((purge.upto for _, purge in purges), default=0)
    for of_purge in (True, False):
        kinds = Counter(kind for seq, kind in record.purged.items() if (seq <= upto) is of_purge)
        what = ", ".join(f"{count} {texts.line(kind, 40)}" for kind, count in kinds.most_common(12))
        if not kinds:
            continue
        if of_purge:
            dates = ", ".join(when(at_ns) for at_ns, _ in purges)
            yield f"{kinds.total():,} events were purged on {dates}: what they said is gone ({what})"
        else:
            yield f"the bodies of {kinds.total():,} events are gone, and no purge says so ({what})"


def _facts(
    record: RunRecord, row: RunRow, begun: e.RunStarted | None, texts: Texts
) -> Iterator[tuple[str, str]]:
    yield "agent", texts.line(row.agent, 120)
    yield "user", texts.line(row.user or "none was named", 120)
    yield "workspace", texts.line(row.workspace or "none was named", 120)
    yield "session", texts.line(row.session, 120)
    yield "began", when(row.started_ns)
    purged = [at_ns for at_ns, _ in _purges(record)]
    if purged:  # the last event of the run, and no part of what it did
        yield "purged", ", ".join(map(when, purged))
    else:
        yield "took", took(row.last_ns - row.started_ns)
    yield "events", f"{row.events:,}"
    yield "policy", texts.line(row.policy, 120)
    if begun is None:
        gone = "was purged" if purged else "is gone, and no purge says so"
        yield "beginning", f"it {gone}: the policy's text, mode, framework and versions are not known"
    else:
        yield "policy digest", texts.line(begun.policy_digest, 120)
        yield "mode", texts.line(begun.mode, 60)
        yield "framework", texts.line(begun.framework, 60)
        if begun.versions:
            ran_on = ", ".join(f"{name} {version}" for name, version in begun.versions.items())
            yield "versions", texts.line(ran_on, 400)
        more = {name: said for name, said in begun.principal.items() if name not in ("user", "workspace")}
        if more:
            yield "principal", texts.given(more)
        yield "capabilities", texts.line(", ".join(map(str, begun.capabilities)) or "none", 400)
        if begun.external_id is not None:
            yield "the framework's id", texts.line(begun.external_id, 120)
        if begun.resume_of is not None:
            yield "resumes", texts.line(begun.resume_of, 120)
    if row.parent is not None:
        yield "inside of", texts.line(row.parent, 120)
    yield "head", row.head.hex()


def _lanes(steps: Sequence[Step]) -> Iterator[tuple[str, str, str, tuple[Bar, ...]]]:
    for lane, name in _LANES:
        bars = tuple(bar for step in steps for bar in step.bars if bar.lane == lane)
        total = took(sum(bar.took_ns for bar in bars)) if bars else "none"
        yield lane, name, f"{total} in all" if len(bars) > 1 else total, bars


def _chain(row: RunRow, fault: Fault | None, texts: Texts) -> str:
    if fault is None:
        return f"intact: each of {row.events:,} events follows from the one before, up to the head"
    return f"CHANGED: {texts.line(str(fault), 600)}. What stands below may not be what happened"


# ---- levels -----------------------------------------------------------------------------------------


def _levels(record: RunRecord) -> tuple[Levels, str]:
    try:
        known = levels(record)
    except RecordError as error:  # the page says so and shows the rest
        return Levels(()), f"the session's level cannot be told: {error}"
    if known.because is not None:
        return known, f"from some event on the session's level is not known: {known.because}"
    return known, "" if known.names else "the policy declares no levels, so the session carries none"


def _place_rises(found: Sequence[Row], known: Levels) -> None:
    """Give each rise to the row that has its event, else to the last row that began before it."""
    owners = {seq: row for row in found for seq in row.seqs}
    in_order = sorted(found, key=lambda row: row.seqs[0])
    for change in known.changes[1:]:
        owner = owners.get(change.seq)
        if owner is None:
            owner = next((row for row in reversed(in_order) if row.seqs[0] <= change.seq), None)
        if owner is not None:
            owner.rises.append(change.seq)


def _level(row: Row, record: RunRecord, known: Levels, texts: Texts) -> Level | None:
    if not known.names:
        return None
    change = known.after(max(row.seqs[-1], *row.rises, 0))
    if change is None or change.rank is None:
        return Level("not known", None)
    highest = len(known.names) - 1
    meter = "\u25cf" * change.rank + "\u25cb" * (highest - change.rank) if highest <= 8 else ""
    name = texts.line(known.names[change.rank], 60)
    return Level(name, change.rank, _raised(row, record, known), meter)


def _raised(row: Row, record: RunRecord, known: Levels) -> str:
    said: dict[str, None] = {}
    for seq in row.rises:
        kind = next((one.event.kind for one in record.events if one.seq == seq), "")
        said[f"{_RAISED.get(kind, 'raised')} (event {seq})"] = None
    return "; ".join(said)


def _bands(known: Levels, record: RunRecord, times: Times, texts: Texts) -> Iterator[Band]:
    """Return the chart of levels, highest first, and `not known` last."""
    if not known.names:
        return
    at = {one.seq: one.at_ns for one in record.events}
    stretches: dict[int | None, list[tuple[float, float]]] = {}
    since: dict[int | None, str] = {}
    last = times.start_ns
    for index, change in enumerate(known.changes):
        begin = last = max(at.get(change.seq, last), last)
        following = known.changes[index + 1].seq if index + 1 < len(known.changes) else None
        end = times.end_ns if following is None else max(at.get(following, last), last)
        since.setdefault(change.rank, f"from {times.offset(begin)}")
        left, right = times.percent(begin), times.percent(end)
        width = max(right - left, 0.4)
        stretches.setdefault(change.rank, []).append((min(left, 100 - width), round(width, 3)))
    highest = len(known.names) - 1
    for rank in range(highest, max(highest - _BANDS, -1), -1):
        yield Band(
            texts.line(known.names[rank], 60), tuple(stretches.get(rank, ())[:400]), since.get(rank, "")
        )
    if None in stretches:
        yield Band("not known", tuple(stretches[None][:400]), since[None], known=False)


# ---- steps ------------------------------------------------------------------------------------------


def _steps(
    kept: Sequence[Row],
    by: Drawer,
    record: RunRecord,
    known: Levels,
    anchor: str,
    inner: Mapping[str, str],
) -> Iterator[Step]:
    given: dict[tuple[str, str], str] = {}
    for row in kept:
        name = f"{anchor}-{row.seqs[0]}"
        if row.left_out:
            word = f"{row.left_out:,} steps are left out here"
            yield Step(f"{name}-gap", "gap", "plain", "", word, "")
        level = _level(row, record, known, by.texts)
        step = row.step
        if isinstance(step, CallStep):
            yield call_step(step, by, anchor=name, depth=row.depth, level=level)
            continue
        repeats = ""
        if step.step == "prompt" and isinstance(step.said["text"], str):
            key = (str(step.said["source"]), step.said["text"])
            repeats = given.get(key, "")
            given.setdefault(key, by.times.offset(step.at_ns))
        link = inner.get(str(step.said["run"]), "") if step.step == "subrun" else ""
        yield moment_step(
            step, by, anchor=name, level=level, asked=row.asked, before=row.before, repeats=repeats, link=link
        )


def _strikes(step: Step) -> bool:
    """Say whether a reader looks for a step first; how the run ended stands at the top."""
    if step.word == "ended":
        return step.tone == "failed"
    asked = step.kind == "call" and bool(step.tickets)
    return step.tone in ("deny", "unknown", "failed") or step.outcome_tone == "failed" or asked


def _first_tone(step: Step) -> str:
    """Return the tone of what is worse: what was decided, or what came of it."""
    return "failed" if step.outcome_tone == "failed" and step.tone in ("allow", "plain") else step.tone


def _striking(step: Step) -> str:
    if step.kind == "call":
        asked = "people were asked, " if step.tickets else ""
        failed = f"; {step.outcome}" if step.outcome_tone == "failed" else ""
        because = _because(step)
        return f"call {step.number}, {step.title}: {asked}{step.word}{because}{failed}"[:300]
    return f"{step.word}: {step.title}"[:300]


def _because(step: Step) -> str:
    last = step.decisions[-1] if step.decisions else None
    rules = [one.name for one in last.reasons if one.tone == last.tone and not one.shadow] if last else []
    return f" by {', '.join(rules[:3])}" if rules else ""


def _tallies(found: Sequence[Row]) -> Iterator[tuple[str, str, str]]:
    calls = [row.step for row in found if isinstance(row.step, CallStep)]
    verdicts = Counter(call.verdict for call in calls)
    answers = [row.step for row in found if isinstance(row.step, Moment) and row.step.step == "model"]
    tokens = [usage_of(step.said.get("usage")) for step in answers]
    yield "plain", f"{len(calls):,}", "call" if len(calls) == 1 else "calls"
    for tone, word in (("allow", "allowed"), ("deny", "denied"), ("unknown", "not found")):
        if verdicts[tone]:
            yield tone, f"{verdicts[tone]:,}", word
    asked = sum(bool(call.tickets) for call in calls)
    if asked:
        yield "ask", f"{asked:,}", "put to people"
    failed = sum(call.outcome not in ("finished", "not run", "running", "unknown") for call in calls)
    if failed:
        yield "failed", f"{failed:,}", "failed"
    running = sum(call.outcome in ("running", "unknown") for call in calls)
    if running:
        yield "failed", f"{running:,}", "without an outcome"
    if answers:
        yield "plain", f"{len(answers):,}", "model answer" if len(answers) == 1 else "model answers"
    if any(map(sum, tokens)):
        yield "plain", f"{sum(into for into, _ in tokens):,}", "tokens in"
        yield "plain", f"{sum(out for _, out in tokens):,}", "tokens out"
