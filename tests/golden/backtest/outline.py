"""What a backtest of one small log says to people, policy by policy."""

from io import StringIO
from pathlib import Path

from ringfence.cli.backtested import tell
from ringfence.cli.say import Say
from ringfence.engine.retrospect.backtest import backtest
from tests.backtests import HOUR_NS, Limits, log_of, recorded
from tests.plans import T0

HERE = Path(__file__).parent
THEN = Limits()
CASES = {
    "same": THEN,
    "stricter": Limits(denies=40, asks=30, rate=4),
    "looser": Limits(denies=99, asks=97, allows=95),
}


def told(case: str) -> str:
    """Return what is said of a policy, notes first."""
    plan = THEN.plan
    runs = {
        "run-a": recorded(plan, "one", [1, 35, 95, 50, 2], at_ns=T0),
        "run-b": recorded(plan, "one", [45, 75], at_ns=T0 + HOUR_NS),
        "run-c": recorded(plan, "two", [1, 2, 3, 4, 5, 6, 85], at_ns=T0 + 2 * HOUR_NS),
        "run-d": recorded(plan, "three", [1, 2], at_ns=T0 + 3 * HOUR_NS),
        "run-e": recorded(plan, "four", [41, 42, 43, 44, 96], at_ns=T0 + 4 * HOUR_NS),
    }
    log = log_of(runs)
    del log.entries["run-d"][2]
    out, err = StringIO(), StringIO()
    tell(backtest(log.rows, log.read_all, CASES[case].plan), Say(json=False, out=out, err=err))
    return f"{err.getvalue()}---\n{out.getvalue()}"
