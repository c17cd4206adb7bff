"""Two stores as one: each keeps its own, both open or neither, and no password is ever told."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ringfence._builtins import builtins
from ringfence.engine.seams.composed import ComposedStore
from ringfence.engine.seams.dispatch import Extensions
from ringfence.engine.seams.errors import EngineError, SettingsError, StoreAwayError
from ringfence.engine.seams.parts import lacking
from ringfence.engine.seams.ports import Store
from ringfence.engine.seams.settings import Settings
from ringfence.engine.seams.store_urls import hide_passwords, without_password
from ringfence.plugin import hookimpl
from ringfence.plugins.memory import MemoryStore
from tests.guards import ALICE, call, make_guard

LOG, LEDGER = "logs://app:hunter2@db/ringfence", "budgets://:hunter3@cache"


class AStore(MemoryStore):
    """A memory store that keeps what it is told to, and remembers what was done to it."""

    def __init__(self, url: str, *left_out: str, fails: BaseException | None = None) -> None:
        super().__init__()
        self.url = url
        self.fails = fails
        self.did: list[str] = []
        for part in left_out:
            setattr(self, part, None)

    async def open(self) -> None:
        self.did.append("open")
        if self.fails is not None:
            raise self.fails

    async def close(self) -> None:
        self.did.append("close")


class Plugin:
    def __init__(self, *stores: AStore) -> None:
        self.stores = {store.url: store for store in stores}

    @hookimpl
    def ringfence_store_schemes(self) -> list[str]:
        return ["logs", "budgets"]

    @hookimpl
    def ringfence_open_store(self, url: str) -> Store | None:
        return self.stores.get(url)


def log(**more: Any) -> AStore:
    return AStore(LOG, "ledger", "kill_switch", **more)


def ledger(**more: Any) -> AStore:
    return AStore(LEDGER, "events", "tickets", "leases", **more)


def composed(*stores: AStore, store: str = LOG, ledger: str | None = LEDGER) -> Store:
    settings = Settings.of({"store": store} | ({} if ledger is None else {"ledger": ledger}))
    return Extensions.assemble(settings, builtins=builtins(), plugins=[Plugin(*stores)]).open_store()


async def test_the_log_is_in_the_one_and_budgets_and_orders_are_in_the_other() -> None:
    first, second = log(), ledger()
    both = composed(first, second)
    await both.open()
    assert (both.events, both.tickets, both.leases) == (first.events, first.tickets, first.leases)
    assert (both.ledger, both.kill_switch) == (second.ledger, second.kill_switch)
    assert not both.durable
    await both.close()
    assert first.did == second.did == ["open", "close"]


def test_a_guard_works_over_two_stores() -> None:
    first, second = log(), ledger()
    guard = make_guard(plugins=[Plugin(first, second)], store=LOG, ledger=LEDGER)
    with guard.run(principal=ALICE, agent="main") as run:
        for _ in range(10):
            guard.execute(run, call("mail", to="a@b.example"), lambda _: 1)
        assert guard.authorize(run, call("mail", to="a@b.example")).verdict.name == "DENY"
    assert len(guard.runs.list()) == 1
    guard.close()
    assert first.did == second.did == ["open", "close"]


@pytest.mark.parametrize("broken", ["store", "ledger"])
async def test_if_one_cannot_be_opened_the_other_is_closed_and_the_error_says_which(broken: str) -> None:
    fails = OSError("no route to budgets://:hunter3@cache with hunter3, nor to app:hunter2@db")
    first = log(fails=fails if broken == "store" else None)
    second = ledger(fails=fails if broken == "ledger" else None)
    with pytest.raises(EngineError, match=f"`{broken}` .*no route") as caught:
        await composed(first, second).open()
    assert first.did == second.did == ["open", "close"]
    own = {"store": "hunter2", "ledger": "hunter3"}[broken]
    assert own not in caught.value.diagnostics()


async def test_a_store_that_is_away_at_the_start_is_told_apart_from_a_broken_one() -> None:
    with pytest.raises(StoreAwayError, match="`ledger`"):
        await composed(log(), ledger(fails=StoreAwayError("no answer"))).open()


async def test_an_opening_that_is_given_up_closes_both() -> None:
    class Slow(AStore):
        async def open(self) -> None:
            await super().open()
            asking.set()
            await asyncio.Event().wait()

    asking = asyncio.Event()
    first, second = Slow(LOG, "ledger", "kill_switch"), ledger()
    opening = asyncio.create_task(ComposedStore(first, second).open())
    await asking.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert first.did == second.did == ["open", "close"]


async def test_both_are_closed_even_if_the_first_cannot_be() -> None:
    class Stuck(AStore):
        async def close(self) -> None:
            raise OSError("stuck")

    second = ledger()
    both = ComposedStore(Stuck(LOG), second)
    await both.open()
    with pytest.raises(OSError, match="stuck"):
        await both.close()
    assert second.did == ["open", "close"]


async def test_a_ledger_that_keeps_no_budgets_is_refused_and_says_so() -> None:
    with pytest.raises(EngineError, match=r"`ledger`: .* keeps no budgets and no orders to stop") as caught:
        await composed(log(), AStore(LEDGER, "ledger", "kill_switch")).open()
    assert "hunter" not in caught.value.diagnostics()


async def test_a_log_that_keeps_no_tickets_is_refused() -> None:
    with pytest.raises(EngineError, match=r"`store`: .* keeps no tickets"):
        await composed(AStore(LOG, "tickets"), ledger()).open()


def test_a_store_of_budgets_alone_says_to_write_it_under_ledger() -> None:
    guard = make_guard(plugins=[Plugin(ledger())], store=LEDGER)
    with pytest.raises(EngineError, match="keeps no audit log, no tickets and no leases") as caught:
        guard.begin_run(principal=ALICE, agent="main")
    assert "under `ledger`" in (caught.value.help or "") and "hunter" not in caught.value.diagnostics()
    guard.close()


def test_a_log_without_budgets_says_to_name_a_ledger() -> None:
    error = lacking(log())
    assert error is not None and "`ledger`" in (error.help or "")


def test_one_url_twice_is_one_store() -> None:
    only = AStore(LOG)
    assert composed(only, ledger=LOG) is only


def test_a_relative_ledger_starts_where_the_settings_stand(tmp_path: Path) -> None:
    (tmp_path / "ringfence.toml").write_text('ledger = "sqlite:///budgets.db"')
    settings = Settings.load(tmp_path / "ringfence.toml", env={})
    assert settings.ledger == f"sqlite:///{tmp_path}/budgets.db"


def test_a_variable_names_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    env = {"RINGFENCE_LEDGER": "sqlite:///budgets.db"}
    assert Settings.load(env=env).ledger == f"sqlite:///{tmp_path}/budgets.db"
    with pytest.raises(SettingsError, match="RINGFENCE_LEDGER: must be a URL"):
        Settings.load(env={"RINGFENCE_LEDGER": "budgets"})


def test_a_ledger_that_nobody_takes_is_a_mistake_under_its_key() -> None:
    with pytest.raises(SettingsError, match="`ledger`: no plugin takes the store URL `bugdets") as caught:
        composed(log(), ledger="bugdets://:hunter3@cache")
    assert "did you mean `budgets`" in caught.value.diagnostics() and "hunter" not in str(caught.value)


def test_settings_do_not_show_the_urls() -> None:
    assert "hunter" not in repr(Settings.of({"store": LOG, "ledger": LEDGER}))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://app:s3cret@db:5432/x?schema=y", "postgresql://app:***@db:5432/x?schema=y"),
        ("postgresql://app:a/b@c@db/x", "postgresql://app:***@db/x"),
        ("postgresql://app@db/x", "postgresql://app@db/x"),
        ("postgresql://db/x?user=a&password=s3cret&z=1", "postgresql://db/x?user=a&password=***&z=1"),
        ("postgresql:///x?sslpassword=s3cret", "postgresql:///x?sslpassword=***"),
        ("redis://:s3cret@cache:6379/0", "redis://:***@cache:6379/0"),
        ("redis://cache/0", "redis://cache/0"),
        ("sqlite:////srv/a:b@c/ringfence.db", "sqlite:////srv/a:b@c/ringfence.db"),
        ("memory:", "memory:"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_a_message_is_told_without_the_password_in_any_form() -> None:
    url = "postgresql://app:p%40ss@db/x"
    told = hide_passwords(f"cannot reach {url}: p@ss and p%40ss are wrong, passport is not", url)
    assert told == "cannot reach postgresql://app:***@db/x: *** and *** are wrong, passport is not"
