"""What came of a load, for people and for programs."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from bench.load.checking import Checked
from bench.load.mix import NAMES
from bench.load.reports import Report
from ringfence.cli.drawing import count
from ringfence.cli.say import Say


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one part."""

    report: Report
    log: Checked

    @property
    def faults(self) -> list[str]:
        """Everything that is not as it must be."""
        return [*self.report.faults(), *self.log.faults]


def document(outcome: Outcome) -> dict[str, Any]:
    """Return it for programs."""
    report = outcome.report
    return {
        **report.to_json(),
        "figures": dict(_figures(report)),
        "log": asdict(outcome.log),
        "faults": outcome.faults,
    }


def _figures(report: Report) -> Iterator[tuple[str, float]]:
    """Yield what can be compared from one machine to the next, and from one day to the next."""
    yield "calls_per_s", report.timed_calls / report.wall_s
    yield "calls_per_cpu_s", report.timed_calls / report.cpu_s
    yield "runs_per_s", report.timed_runs / report.wall_s
    if report.memory:
        kib = report.at_once * 1024
        yield "kib_per_run_begun", sum(one.begun - one.before for one in report.memory) / kib
        yield "kib_per_run_peak", sum(one.peak - one.before for one in report.memory) / kib
        yield "mib_left", sum(one.after - one.before for one in report.memory) / 2**20


def tell(title: str, outcome: Outcome, say: Say) -> None:
    """Write it for people."""
    report, log, figures = outcome.report, outcome.log, dict(_figures(outcome.report))
    say.line((title, "bold"), f": {count(report.processes, 'process', 'processes')}")
    rows = [(name, f"{report.ran[name]:,}", f"{report.denied[name]:,}") for name in NAMES]
    say.table(rows, head=("CALLS", "RAN", "DENIED"))
    say.line(
        f"{report.at_once:,} runs at once, begun in {report.begin_s:.1f} s; "
        f"{count(report.timed_runs, 'run')} and {count(report.timed_calls, 'call')} in {report.wall_s:.1f} s"
    )
    say.line(
        f"{figures['calls_per_s']:,.0f} calls a second, {figures['calls_per_cpu_s']:,.0f} a CPU-second of "
        f"the processes, {figures['runs_per_s']:,.1f} runs a second"
    )
    say.line(f"the slowest call that asks nobody took {report.slowest_s:.2f} s")
    if report.memory:
        say.line(
            f"memory: {figures['kib_per_run_begun']:,.1f} KiB for a run that has begun, "
            f"{figures['kib_per_run_peak']:,.1f} KiB for each at the peak, "
            f"{figures['mib_left']:,.1f} MiB more than before once all had ended"
        )
    else:
        say.note("memory: left out: this system does not tell")
    if outcome.faults:
        say.line(("WRONG", "bold red"), f": {count(len(outcome.faults), 'fault')}")
        for fault in outcome.faults:
            say.line(f"  {fault}")
    else:
        say.line(
            ("held", "green"),
            f": no error, every verdict as it must be; {count(log.events, 'event')} of "
            f"{count(log.runs, 'run')} verify and say the same",
        )
