"""Our private client against the local venue, over real sockets on loopback."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import trustme

from adapters.kraken.errors import PrivateStoppedError, RefusedByVenueError
from adapters.kraken.keys import Keys, Secret
from adapters.kraken.limits import SECOND, TIERS
from adapters.kraken.nonce import NonceFile
from adapters.kraken.order_state import cl_ord_id_of
from adapters.kraken.private import PrivateSession
from adapters.kraken.private_line import Heard, follow
from adapters.kraken.recovery import recover
from adapters.kraken.rest import Rest
from adapters.local_venue import LocalVenue, VenueOptions, generated, serve
from adapters.local_venue.account import compile_venue
from adapters.local_venue.keys import DEMO_KEY, DEMO_SECRET
from engine.clock import WallClock
from engine.errors import ConfigError, VenueError
from engine.events import (
    BUY,
    CANCEL_USER,
    HEALTH,
    HEALTH_ACCOUNT_SYNCED,
    ORDER_ACK,
    ORDER_CANCELED,
    ORDER_FEE,
    ORDER_FILL,
    ORDER_FILLED,
    ORDER_REJECT,
    REJECT_FUNDS,
)
from tests.support.private_client import (
    KEYS,
    Client,
    client,
    limit,
    order_of,
    rest_of,
    with_client,
)
from tests.support.private_words import as_executions, executions


def test_an_order_rests_and_is_canceled(tmp_path: Path) -> None:
    async def work(venue: LocalVenue, rest: Rest, connected: Client) -> None:
        connected.send("add_order", limit("0.01", "100.0"), order_of(connected, 7, "0.01", "100.0"))
        await connected.until(lambda: len(connected.rows(ORDER_ACK)) == 1)
        ack = connected.rows(ORDER_ACK)[0]
        assert (ack["id"], ack["side"]) == (7, BUY)
        at_rest = await rest.call("OpenOrders")
        assert [each["cl_ord_id"] for each in at_rest["open"].values()] == [cl_ord_id_of(7)]
        held = Decimal(connected.session.account.held("USD")).scaleb(-10)
        assert held == Decimal("1")

        connected.send("cancel_order", {"cl_ord_id": [cl_ord_id_of(7)]})
        await connected.until(lambda: len(connected.rows(ORDER_CANCELED)) == 1)
        gone = connected.rows(ORDER_CANCELED)[0]
        assert (gone["id"], gone["aux"], gone["qty"]) == (7, CANCEL_USER, ack["qty"])
        assert connected.session.account.open_orders() == []

    with_client(tmp_path, work)


def test_a_fill_has_its_fee_and_moves_the_balances_as_rest_tells_them(tmp_path: Path) -> None:
    async def work(venue: LocalVenue, rest: Rest, connected: Client) -> None:
        ask = Decimal((await rest.call("Ticker", pair="XBTUSD"))["XXBTZUSD"]["a"][0])
        price = str((ask * Decimal("1.01")).quantize(Decimal("0.1")))
        order = order_of(connected, 8, "0.01", price)
        connected.send("add_order", limit("0.01", price, time_in_force="ioc"), order)
        await connected.until(lambda: len(connected.rows(ORDER_FILLED, ORDER_CANCELED)) == 1)

        fills, fees = connected.rows(ORDER_FILL), connected.rows(ORDER_FEE)
        assert fills["qty"].sum() == order.qty == connected.rows(ORDER_FILLED)[0]["qty"]
        assert fills["aux"].tolist() == fees["aux"].tolist()
        assert (fees["qty"] > 0).all()
        account = connected.session.account
        told = await rest.balances()
        await connected.until(
            lambda: (
                account.total("BTC") == int(told["BTC"][""].scaleb(10))
                and account.total("USD") == int(told["USD"][""].scaleb(10))
            )
        )
        # Cash went down by the fills' value and their fees, to the cent of the ledger's last digit.
        pair = account._instruments["BTC/USD"]
        spent = sum(pair.price(each["price"]) * pair.qty(each["qty"]) for each in fills)
        paid = Decimal(100_000) - told["USD"][""]
        assert abs(paid - spent - Decimal(int(fees["qty"].sum())).scaleb(-8)) <= Decimal(
            "0.0002"
        ) * len(fills)

    with_client(tmp_path, work)


def test_a_refusal_is_a_reject_with_its_reason(tmp_path: Path) -> None:
    async def work(venue: LocalVenue, rest: Rest, connected: Client) -> None:
        connected.send("add_order", limit("50", "30000.0"), order_of(connected, 9, "50", "30000.0"))
        await connected.until(lambda: len(connected.rows(ORDER_REJECT)) == 1)

        assert connected.rows(ORDER_REJECT)[["id", "aux"]].tolist() == [(9, REJECT_FUNDS)]
        assert connected.session.account.open_orders() == []

    with_client(tmp_path, work)


def test_the_tier_is_read_from_the_acknowledgement(tmp_path: Path) -> None:
    async def work(venue: LocalVenue, rest: Rest, connected: Client) -> None:
        assert connected.session.tier is TIERS["pro"]

    with_client(tmp_path, work, VenueOptions(tier="pro"))


def test_after_a_break_the_snapshot_tells_what_is_open(tmp_path: Path) -> None:
    async def work(venue: LocalVenue, rest: Rest, connected: Client) -> None:
        connected.send("add_order", limit("0.01", "100.0"), order_of(connected, 7, "0.01", "100.0"))
        await connected.until(lambda: len(connected.rows(ORDER_ACK)) == 1)
        connected.line._line.end()
        await connected.until(lambda: not connected.session.ready)
        await connected.until(lambda: connected.session.ready)

        acks = connected.rows(ORDER_ACK)
        assert acks["id"].tolist() == [7, 7]
        synced = connected.rows(HEALTH)
        assert (synced["id"] == HEALTH_ACCOUNT_SYNCED).sum() == 2
        assert [each.id for each in connected.session.account.open_orders()] == [7]

    with_client(tmp_path, work)


def test_recorded_frames_tell_the_same_as_the_socket_did(tmp_path: Path) -> None:
    """The decoder does not know what is behind the iterator."""

    async def work(venue: LocalVenue, rest: Rest, connected: Client) -> None:
        heard: list[Heard] = []
        listen = connected.line.heard

        def keep(conn: int, frame: bytes, ts: int) -> None:
            heard.append(Heard(ts, "frame", frame))
            listen(conn, frame, ts)

        connected.line.heard = keep  # type: ignore[method-assign]
        connected.line._line.end()  # from here on all of a connection is kept
        await connected.until(lambda: not connected.session.ready)
        await connected.until(lambda: connected.session.ready)
        n_before = len(connected.steps)
        connected.send("add_order", limit("0.01", "100.0"), order_of(connected, 7, "0.01", "100.0"))
        await connected.until(lambda: len(connected.rows(ORDER_ACK)) == 1)

        again = PrivateSession(connected.session.account._instruments, lambda: 0.5)
        again.start(heard[0].ts)
        again.token(Secret("no token is needed to listen"))
        again.connecting(heard[0].ts)

        async def recorded() -> AsyncIterator[Heard]:
            yield Heard(heard[0].ts, "opened")
            for each in heard:
                yield each

        replayed = [step.rows() async for step in follow(recorded(), again)]
        kinds = (ORDER_ACK,)
        told = np.concatenate(replayed)
        live = np.concatenate([step.rows() for step in connected.steps[n_before:]])
        assert (
            told[np.isin(told["kind"], kinds)].tolist()
            == live[np.isin(live["kind"], kinds)].tolist()
        )

    with_client(tmp_path, work)


def test_no_log_line_of_any_library_holds_a_token_or_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens: list[str] = []

    async def work(venue: LocalVenue, rest: Rest, connected: Client) -> None:
        assert connected.session._token is not None
        tokens.append(connected.session._token.reveal())
        connected.send("add_order", limit("0.01", "100.0"), order_of(connected, 7, "0.01", "100.0"))
        await connected.until(lambda: len(connected.rows(ORDER_ACK)) == 1)

    with_client(tmp_path, work)
    # The venue runs in this process too and logs what it hears, through a logger of its own.
    ours = [each for each in caplog.records if each.name != "websockets.server"]
    said = "\n".join(each.getMessage() for each in ours)
    assert "httpcore" in {each.name.partition(".")[0] for each in ours}  # it did listen
    # A long frame is logged with its middle left out: look for pieces.
    for secret in (*tokens, DEMO_KEY, DEMO_SECRET):
        assert [at for at in range(len(secret) - 7) if secret[at : at + 8] in said] == []


# ---- what was missed ----


def test_an_order_that_ended_while_nobody_listened_is_settled_over_rest(tmp_path: Path) -> None:
    """Another connection of the account cancels one order and takes with another meanwhile."""

    async def work(venue: LocalVenue, rest: Rest, connected: Client) -> None:
        account = connected.session.account
        connected.send("add_order", limit("0.01", "100.0"), order_of(connected, 7, "0.01", "100.0"))
        connected.send("add_order", limit("0.01", "101.0"), order_of(connected, 8, "0.01", "101.0"))
        await connected.until(lambda: len(connected.rows(ORDER_ACK)) == 2)
        since = await rest.time_ns()  # the venue's clock: its market began at a time of its own
        ask = Decimal((await rest.call("Ticker", pair="XBTUSD"))["XXBTZUSD"]["a"][0])
        price = (ask * Decimal("1.01")).quantize(Decimal("0.1"))
        # Deaf from here on: what arrives is thrown away before anyone sees it.
        connected.line.heard = lambda conn, frame, ts: None  # type: ignore[method-assign]
        async with client(venue, rest) as other:
            other.send("cancel_order", {"cl_ord_id": [cl_ord_id_of(7)]})
            change = {"limit_price": price, "order_qty": Decimal("0.01"), "post_only": False}
            other.send("amend_order", {"cl_ord_id": cl_ord_id_of(8), **change})
            await other.until(lambda: len(other.rows(ORDER_CANCELED, ORDER_FILLED)) == 2)

        now = connected.line.stamp()
        account.lost(now)
        account.take(as_executions(executions(1, kind="snapshot")), now)
        assert sorted(each.id for each in account.vanished()) == [7, 8]
        until = await rest.time_ns() + SECOND
        names = await rest.names()
        told = (await recover(rest, names, account, since, until, WallClock())).events()
        assert (told["ts"] >= now).all()
        ends = told[np.isin(told["kind"], (ORDER_CANCELED, ORDER_FILLED))]
        assert sorted(ends[["id", "kind"]].tolist()) == [(7, ORDER_CANCELED), (8, ORDER_FILLED)]
        fills = told[told["kind"] == ORDER_FILL]
        # The executions are those that the stream told the other connection.
        there = other.rows(ORDER_FILL)
        assert fills[["id", "aux", "qty", "price"]].tolist() == (
            there[["id", "aux", "qty", "price"]].tolist()
        )
        assert (told["qty"][told["kind"] == ORDER_FEE] == other.rows(ORDER_FEE)["qty"]).all()
        assert account.vanished() == []

    with_client(tmp_path, work)


# ---- REST on its own ----


def with_rest(
    work: Callable[[LocalVenue, Rest], Awaitable[None]], folder: Path, keys: Keys = KEYS
) -> None:
    async def main() -> None:
        async with serve(generated(seed=7), speed=1) as venue, rest_of(venue, folder, keys) as rest:
            await work(venue, rest)

    compile_venue()
    asyncio.run(asyncio.wait_for(main(), 60))


def test_public_calls_are_answered(tmp_path: Path) -> None:
    async def work(venue: LocalVenue, rest: Rest) -> None:
        assert await rest.system_status() == "online"
        names = await rest.names()
        assert names.altname("BTC/USD") == "XBTUSD"
        assert names.rest_key("BTC/USD") == "XXBTZUSD"
        with pytest.raises(RefusedByVenueError, match="EQuery:Unknown asset pair"):
            await rest.trades("NOPE", 0)

    with_rest(work, tmp_path)


def test_private_reads_are_answered_exactly(tmp_path: Path) -> None:
    async def work(venue: LocalVenue, rest: Rest) -> None:
        assert (await rest.balances())["BTC"] == {"": Decimal(2)}
        assert (await rest.available())["USD"] == Decimal(100_000)
        assert (await rest.stream_token()).token.reveal()

    with_rest(work, tmp_path)


def test_a_second_client_on_the_key_with_a_slower_clock_ends_private_use(tmp_path: Path) -> None:
    class Slow:
        def now(self) -> int:
            return WallClock().now() - 60_000_000_000

    async def work(venue: LocalVenue, rest: Rest) -> None:
        await rest.balances()
        behind = NonceFile(tmp_path / "other", KEYS.fingerprint, Slow())
        async with Rest(venue.rest_url, nonce=lambda _: behind.draw(), keys=lambda: KEYS) as other:
            with pytest.raises(PrivateStoppedError, match="EAPI:Invalid nonce"):
                await other.balances()
            with pytest.raises(PrivateStoppedError, match="EAPI:Invalid nonce"):
                await other.stream_token()
        assert (await rest.balances())["BTC"] == {"": Decimal(2)}

    with_rest(work, tmp_path)


def test_a_wrong_key_ends_private_use(tmp_path: Path) -> None:
    async def work(venue: LocalVenue, rest: Rest) -> None:
        with pytest.raises(PrivateStoppedError, match="EAPI:Invalid key"):
            await rest.stream_token()

    with_rest(
        work, tmp_path, Keys(Secret("not-the-key-of-the-venue"), Secret(DEMO_SECRET), "a test")
    )


def test_a_certificate_that_is_not_trusted_ends_it_at_once_and_one_that_is_named_is_trusted(
    tmp_path: Path,
) -> None:
    authority = trustme.CA()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)

    async def main() -> None:
        async with serve(generated(seed=7), speed=1, ssl=served, warm=False) as venue:
            assert venue.rest_url.startswith("https://")
            async with Rest(venue.rest_url) as stranger:
                with pytest.raises(VenueError, match="is not trusted"):
                    await stranger.system_status()
            async with Rest(venue.rest_url, ssl_context=trusted) as friend:
                assert await friend.system_status() == "online"

    asyncio.run(asyncio.wait_for(main(), 60))
    with pytest.raises(ConfigError, match="another certificate authority"):
        Rest(ssl_context=trusted)
