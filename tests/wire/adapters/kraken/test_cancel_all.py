"""The kill switch on a venue of its own: everything that rests goes, whatever else hangs."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from adapters.kraken.cancel_all import Cleared, cancel_all, kill_keys
from adapters.kraken.keys import Keys, Secret
from adapters.kraken.scope import findings_of, key_info
from adapters.local_venue import ApiKey, LocalVenue, VenueOptions, generated, serve
from adapters.local_venue.account import compile_venue
from adapters.local_venue.faults import Script, parse_script
from adapters.local_venue.keys import DEMO_KEY, DEMO_SECRET
from engine.errors import ConfigError, SecretError, VenueError
from engine.events import TABLE_FEES, TABLE_UPDATE
from tests.support.account_client import account, free_rest
from tests.support.private_client import rest_of

KILL_KEY = "kill-key-of-the-local-venue"
KILL = ApiKey(KILL_KEY, rights=frozenset(("query", "cancel")), account=DEMO_KEY)
KEYS = Keys(Secret(KILL_KEY), Secret(DEMO_SECRET), "a test")


def on_a_venue(
    work: Callable[[LocalVenue], Awaitable[None]], *keys: ApiKey, faults: Script | None = None
) -> None:
    async def main() -> None:
        options = VenueOptions(rest_limits=False)
        async with serve(
            generated(seed=7), keys=(ApiKey(), *(keys or (KILL,))), options=options, faults=faults
        ) as venue:
            await work(venue)

    compile_venue()
    asyncio.run(asyncio.wait_for(main(), 60))


async def with_orders(venue: LocalVenue, folder: Path) -> None:
    async with free_rest(venue, folder) as rest, account(venue, rest) as mine:
        for id in (1, 2, 3):
            mine.add(id)
        mine.stop(4, "50.0")
        await mine.until(lambda: len(mine.books.open) == 4)


async def kill(venue: LocalVenue, folder: Path, keys: Keys = KEYS, tries: int = 8) -> Cleared:
    return await asyncio.to_thread(
        cancel_all, keys, url=venue.rest_url, folder=folder, tries=tries,
        sleep=lambda seconds: time.sleep(seconds / 20),
    )  # fmt: skip


def open_at(venue: LocalVenue) -> int:
    return len(venue.core.clients[DEMO_KEY].account.open)


def test_everything_goes_stops_included_and_that_is_read_back(tmp_path: Path) -> None:
    async def work(venue: LocalVenue) -> None:
        await with_orders(venue, tmp_path)
        done = await kill(venue, tmp_path / "kill")
        assert (done.n_canceled, done.left, done.clear) == (4, (), True)
        assert open_at(venue) == 0
        assert (await kill(venue, tmp_path / "kill")).n_canceled == 0

    on_a_venue(work)


def test_answers_that_are_lost_are_asked_for_again(tmp_path: Path) -> None:
    async def work(venue: LocalVenue) -> None:
        await with_orders(venue, tmp_path)
        done = await kill(venue, tmp_path / "kill")
        assert done.clear
        assert open_at(venue) == 0
        assert len(done.said) == 4

    on_a_venue(
        work,
        faults=parse_script(
            '[[fault]]\nkind = "lose_reply"\nendpoint = "rest"\nmethod = "CancelAll"\ncount = 1\n'
            '[[fault]]\nkind = "html"\nendpoint = "rest"\nmethod = "CancelAll"\ncount = 1\n'
            '[[fault]]\nkind = "error"\nendpoint = "rest"\nmethod = "OpenOrders"\ncount = 2\n'
        ),
    )


def test_a_key_that_may_only_cancel_cancels_and_says_that_it_cannot_look(tmp_path: Path) -> None:
    async def work(venue: LocalVenue) -> None:
        await with_orders(venue, tmp_path)
        done = await kill(venue, tmp_path / "kill")
        assert (done.n_canceled, done.left, done.clear) == (4, None, False)
        assert open_at(venue) == 0
        assert "EGeneral:Permission denied" in done.said[0]

    on_a_venue(work, ApiKey(KILL_KEY, rights=frozenset(("cancel",)), account=DEMO_KEY))


def test_a_key_without_the_right_is_refused_in_words(tmp_path: Path) -> None:
    async def work(venue: LocalVenue) -> None:
        with pytest.raises(SecretError, match="Permission denied") as caught:
            await kill(venue, tmp_path / "kill")
        assert KILL_KEY not in str(caught.value)
        assert DEMO_SECRET not in str(caught.value)

    on_a_venue(work, ApiKey(KILL_KEY, rights=frozenset(("query",)), account=DEMO_KEY))


def test_a_venue_that_is_not_there_ends_in_advice(tmp_path: Path) -> None:
    with pytest.raises(VenueError, match="nothing was cancelled"):
        cancel_all(KEYS, url="http://127.0.0.1:9", folder=tmp_path, tries=2, sleep=lambda _: None)
    with pytest.raises(ConfigError, match="not an address of Kraken"):
        cancel_all(KEYS, url="https://example.org", folder=tmp_path)


def test_another_process_does_it_with_keys_of_its_own_while_the_session_stands_still(
    tmp_path: Path,
) -> None:
    code = (
        "import sys, pathlib; from adapters.kraken.cancel_all import cancel_all; "
        "done = cancel_all(url=sys.argv[1], folder=pathlib.Path(sys.argv[2])); "
        "print(done.n_canceled, done.clear)"
    )

    async def work(venue: LocalVenue) -> None:
        async with free_rest(venue, tmp_path) as rest, account(venue, rest) as mine:
            mine.add(1)
            await mine.until(lambda: len(mine.books.open) == 1)
            mine.deaf()  # it hears nothing and does nothing
            env = {**os.environ, "KAPITAALBOT_KILL_KEY": KILL_KEY,
                   "KAPITAALBOT_KILL_SECRET": DEMO_SECRET}  # fmt: skip
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, venue.rest_url, str(tmp_path / "kill"),
                env=env, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, _ = await process.communicate()
            assert out.decode().split() == ["1", "True"]
            assert open_at(venue) == 0
            mine.line.line.resync()
            await mine.reconciled()

    on_a_venue(work)


def test_its_keys_come_from_their_own_variables_or_their_own_file(tmp_path: Path) -> None:
    both = {"KAPITAALBOT_KILL_KEY": KILL_KEY, "KAPITAALBOT_KILL_SECRET": DEMO_SECRET}
    assert kill_keys(both).fingerprint == KEYS.fingerprint
    with pytest.raises(SecretError, match="only the other one"):
        kill_keys({"KAPITAALBOT_KILL_KEY": KILL_KEY})
    trading = {"KAPITAALBOT_KRAKEN_KEY": KILL_KEY, "KAPITAALBOT_KRAKEN_SECRET": DEMO_SECRET}
    with pytest.raises(SecretError, match=r"kraken-kill\.toml"):
        kill_keys({**trading, "XDG_CONFIG_HOME": str(tmp_path)})
    file = tmp_path / "kapitaalbot" / "kraken-kill.toml"
    file.parent.mkdir()
    file.write_text(f'key = "{KILL_KEY}"\nsecret = "{DEMO_SECRET}"\n')
    file.chmod(0o600)
    assert kill_keys({"XDG_CONFIG_HOME": str(tmp_path)}).fingerprint == KEYS.fingerprint


# ---- what a key may do, what trading costs: over the same wire ----


def test_the_venue_says_what_a_key_may_do(tmp_path: Path) -> None:
    able = ApiKey(KILL_KEY, rights=frozenset(("query", "cancel", "withdraw")), account=DEMO_KEY)

    async def work(venue: LocalVenue) -> None:
        async with rest_of(venue, tmp_path, KEYS) as rest:
            found = findings_of(
                await key_info(rest), await rest.time_ns(), "kill", any_address=True
            )
        assert "withdraw" in next(each.text for each in found if each.verdict == "wrong")
        assert [each.name for each in found if each.verdict == "warn"] == ["addresses"]
        assert KILL_KEY not in repr(found)
        assert findings_of({}, 0)[0].verdict == "wrong"

    on_a_venue(work, able)


def test_the_accounts_rates_reach_the_core_at_the_start(tmp_path: Path) -> None:
    async def work(venue: LocalVenue) -> None:
        async with free_rest(venue, tmp_path) as rest, account(venue, rest, fees=True) as mine:
            await mine.until(lambda: len(mine.rows(TABLE_UPDATE)) == 1)
            [row] = mine.rows(TABLE_UPDATE)
            # The schedule's first step: 0.25 % and 0.40 %.
            assert (row["aux"], row["price"], row["qty"]) == (TABLE_FEES, 2_500, 4_000)

    on_a_venue(work)
