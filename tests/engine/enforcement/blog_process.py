"""Another process with the article's policy: `python blog_process.py STORE COMMAND [ARGUMENT]`."""

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from ringfence.engine.seams.errors import RingfenceError
from tests.guards import ALICE, BLOG, POLICY, call, make_guard

MAIL = {"to": ["ann@acme.example"], "subject": "hi", "body": "x", "workspace": "w1"}


def mails(store: str, count: int) -> None:
    """Try to send mails, and print `sent` or the error's code and rule for each."""
    guard = make_guard(BLOG, store=store)
    run = guard.begin_run(principal=ALICE)
    for number in range(count):
        try:
            guard.execute(run, call("send_email", f"c{number}", **MAIL), lambda _: print("sent"))
        except RingfenceError as error:
            print(error.code, error.rule)
    guard.close()


def race(store: str, count: int) -> None:
    """Send mails at once, after a line on standard input, and print how many bodies ran."""
    guard = make_guard(POLICY, store=store)
    sent: list[str] = []

    async def body(arguments: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)
        sent.append(arguments["to"])

    async def all_at_once() -> None:
        run = await guard.abegin_run(principal=ALICE, agent="main")
        print("ready", flush=True)
        sys.stdin.readline()
        await asyncio.gather(
            *(
                guard.aexecute(run, call("mail", f"c{number}", to="a@b.example"), body)
                for number in range(count)
            ),
            return_exceptions=True,
        )

    asyncio.run(all_at_once())
    guard.close()
    print(len(sent))


if __name__ == "__main__":
    {"mails": mails, "race": race}[sys.argv[2]](sys.argv[1], int(sys.argv[3]))
