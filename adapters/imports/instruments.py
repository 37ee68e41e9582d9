"""Which pairs, steps, names and fees do Kraken's own reference answers state?

Reads the `instrument` snapshot of the WebSocket v2 and the REST answer `AssetPairs` into an
instrument table, name maps and fee ladders; and finds a pair and its steps where a recording
brings no reference: from the name of a file, from the digits of the data. Left out: assets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.kraken.names import Names, symbol_of_pair
from adapters.kraken.names import symbol_of_name as symbol_of_name  # the readers ask here
from engine.errors import DataError
from engine.instruments import (
    Instrument,
    InstrumentError,
    InstrumentTable,
    UnknownSymbolError,
)
from engine.units import RATE_SCALE

# ---- Kraken's reference answers ----


class _Raw(msgspec.Struct):
    pairs: list[dict[str, Any]]


class _Snapshot(msgspec.Struct):
    data: _Raw


_DECIMAL_DECODER: Final = msgspec.json.Decoder(_Snapshot, float_hook=Decimal)


def _bytes(source: str | bytes | Path) -> tuple[bytes, str]:
    """Bytes of a file or given text, and its name for messages."""
    if isinstance(source, bytes):
        return source, "the given JSON"
    if isinstance(source, str) and source.lstrip().startswith(("{", "[")):
        return source.encode(), "the given JSON"
    path = Path(source)
    try:
        return path.read_bytes(), path.name
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}.", "Check the path.") from error


def _decimal(value: Any) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(str(value))


def instruments_from_v2_snapshot(source: str | bytes | Path) -> InstrumentTable:
    """The pairs of a v2 `instrument` snapshot, sorted by symbol.

    source : path, bytes or text of `{"channel":"instrument",...,"data":{"pairs":[...]}}`
    raises DataError where the JSON is of another shape or a pair contradicts itself
    """
    data, name = _bytes(source)
    try:
        pairs = _DECIMAL_DECODER.decode(data).data.pairs
    except msgspec.DecodeError as error:
        raise DataError(
            f"{name} is not a v2 instrument snapshot: {error}.",
            "It must hold data.pairs, as the channel sends it.",
        ) from error
    return _table(name, (_from_v2(pair) for pair in pairs))


def _from_v2(pair: Mapping[str, Any]) -> Instrument:
    return Instrument(
        symbol=pair["symbol"],
        price_increment=_decimal(pair.get("price_increment", pair.get("tick_size"))),
        qty_increment=_decimal(pair["qty_increment"]),
        price_precision=int(pair["price_precision"]),
        qty_precision=int(pair["qty_precision"]),
        qty_min=_decimal(pair["qty_min"]),
        cost_min=_decimal(pair.get("cost_min", 0)),
        status=pair["status"],
    )


def _table(name: str, instruments: Iterable[Instrument]) -> InstrumentTable:
    try:
        return InstrumentTable(sorted(instruments, key=lambda each: each.symbol))
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        detail = f"missing {error}" if type(error) is KeyError else str(error)
        raise DataError(
            f"{name}: a pair cannot be read: {detail}.", "Check where the answer came from."
        ) from error


def _asset_pairs(source: str | bytes | Path) -> tuple[dict[str, dict[str, Any]], str]:
    data, name = _bytes(source)
    try:
        answer = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise DataError(f"{name} is not JSON: {error}.", "Fetch it again.") from error
    if answer.get("error"):
        raise DataError(f"{name} holds Kraken's error {answer['error']}.", "Fetch it again.")
    pairs = answer.get("result", answer)
    if not all(isinstance(pair, dict) and "pair_decimals" in pair for pair in pairs.values()):
        raise DataError(
            f"{name} is not an AssetPairs answer: a pair without pair_decimals.",
            "Take the answer of the REST call AssetPairs.",
        )
    return pairs, name


def instruments_from_asset_pairs(source: str | bytes | Path) -> InstrumentTable:
    """The pairs of a REST `AssetPairs` answer, sorted by symbol; dark pool pairs as `ETH/CAD.D`.

    `tick_size` gives the step where it is there (recent answers), else one unit of the last
    decimal. A pair without `ordermin` has no minimum here. Raises DataError.
    """
    pairs, name = _asset_pairs(source)
    return _table(name, (_from_asset_pair(rest_id, pair) for rest_id, pair in pairs.items()))


def _from_asset_pair(rest_id: str, pair: Mapping[str, Any]) -> Instrument:
    price_unit = Decimal(1).scaleb(-int(pair["pair_decimals"]))
    return Instrument(
        symbol=symbol_of_pair(rest_id, pair),
        price_increment=_decimal(pair.get("tick_size", price_unit)),
        qty_increment=Decimal(1).scaleb(-int(pair["lot_decimals"])),
        price_precision=int(pair["pair_decimals"]),
        qty_precision=int(pair["lot_decimals"]),
        qty_min=_decimal(pair.get("ordermin", 0)),
        cost_min=_decimal(pair.get("costmin", 0)),
        status=pair.get("status", "online"),
    )


def names_from_asset_pairs(source: str | bytes | Path) -> dict[str, str]:
    """Every spelling of an `AssetPairs` answer (REST id, altname, wsname) to the symbol."""
    pairs, _ = _asset_pairs(source)
    return Names(pairs).spellings


@dataclass(frozen=True)
class FeeTier:
    """From `volume_min` (30 days, in the fee volume currency) on; rates in 1/100 basis point."""

    volume_min: int
    maker_rate_e6: int
    taker_rate_e6: int


def fees_from_asset_pairs(source: str | bytes | Path) -> dict[str, tuple[FeeTier, ...]]:
    """Fee ladder of each symbol of an `AssetPairs` answer; a pair without maker fees pays taker."""
    pairs, _ = _asset_pairs(source)
    ladders: dict[str, tuple[FeeTier, ...]] = {}
    for rest_id, pair in pairs.items():
        taker = [(int(volume), _rate(percent)) for volume, percent in pair.get("fees", [])]
        maker = [(int(volume), _rate(percent)) for volume, percent in pair.get("fees_maker", [])]
        steps = sorted({volume for volume, _ in (*taker, *maker)})
        ladders[symbol_of_pair(rest_id, pair)] = tuple(
            FeeTier(volume, _at(maker or taker, volume), _at(taker, volume)) for volume in steps
        )
    return ladders


def _rate(percent: Any) -> int:
    return int(Decimal(str(percent)) * RATE_SCALE / 100)


def _at(ladder: list[tuple[int, int]], volume: int) -> int:
    return max((step for step in ladder if step[0] <= volume), key=lambda step: step[0])[1]


def read_instruments(source: str | Path | InstrumentTable) -> InstrumentTable:
    """A table as it is, or a file of either reference answer (told apart by its content)."""
    if isinstance(source, InstrumentTable):
        return source
    data, name = _bytes(source)
    try:
        answer = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise DataError(f"{name} is not JSON: {error}.", "Fetch it again.") from error
    if isinstance(answer, list):
        return InstrumentTable.from_json(answer)
    if isinstance(answer, dict) and "channel" in answer:
        return instruments_from_v2_snapshot(data)
    if isinstance(answer, dict):
        return instruments_from_asset_pairs(data)
    raise DataError(f"{name} holds no instruments.", "Take an AssetPairs answer.")


# ---- from the digits of the data ----


@dataclass
class Digits:
    """What the numbers of one pair look like: the most decimals, as written and as needed."""

    price_written: int = 0
    price_needed: int = 0
    qty_written: int = 0
    qty_needed: int = 0

    def see(self, price: str, qty: str) -> None:
        """Take note of one price and one quantity, plain decimal texts."""
        point = price.find(".")
        if point >= 0:
            self.price_written = max(self.price_written, len(price) - point - 1)
            if len(price) - point - 1 > self.price_needed:
                self.price_needed = max(self.price_needed, len(price.rstrip("0")) - point - 1)
        point = qty.find(".")
        if point >= 0:
            self.qty_written = max(self.qty_written, len(qty) - point - 1)
            if len(qty) - point - 1 > self.qty_needed:
                self.qty_needed = max(self.qty_needed, len(qty.rstrip("0")) - point - 1)


def instrument_from_digits(symbol: str, digits: Digits, as_written: bool = False) -> Instrument:
    """A pair whose steps are the finest decimals that its data needs.

    as_written : for Kraken's sessions, which write every number at the pair's full precision: the
        precisions are the decimals of the text (the checksum is made of them), and one lot is the
        last of them
    """
    price_decimals = digits.price_needed
    qty_decimals = digits.qty_written if as_written else digits.qty_needed
    return Instrument(
        symbol=symbol,
        price_increment=Decimal(1).scaleb(-price_decimals),
        qty_increment=Decimal(1).scaleb(-qty_decimals),
        price_precision=max(digits.price_written, price_decimals) if as_written else price_decimals,
        qty_precision=qty_decimals,
        notes="steps inferred from the digits of the data",
    )


def with_text_precision(given: Instrument, digits: Digits) -> Instrument:
    """A pair's rules from a reference, with the decimals that its text really has.

    The checksum is made of the text: v1 wrote more decimals than the pair's precision.
    """
    return replace(
        given,
        price_precision=max(digits.price_written, given.price_precision),
        qty_precision=max(digits.qty_written, given.qty_precision),
    )


def pick(table: InstrumentTable, symbol: str, where: str) -> Instrument:
    """The row of `symbol`; a DataError that names the place where it is not there."""
    try:
        return table[symbol]
    except UnknownSymbolError as error:
        raise DataError(
            f"{where}: {error}", "Give instruments that hold it, or leave them out."
        ) from error


def instrument_from_options(
    symbol: str,
    tick_size: str | Decimal | None,
    lot_size: str | Decimal | None,
    inferred: Instrument,
) -> Instrument:
    """The inferred pair with the steps that the user gave instead."""
    changes: dict[str, Any] = {}
    try:
        if tick_size is not None:
            step = Decimal(str(tick_size))
            changes["price_increment"] = step
            changes["price_precision"] = max(inferred.price_precision, _decimals(step))
        if lot_size is not None:
            step = Decimal(str(lot_size))
            changes["qty_increment"] = step
            changes["qty_precision"] = max(inferred.qty_precision, _decimals(step))
        return replace(inferred, symbol=symbol, **changes)
    except (InvalidOperation, InstrumentError) as error:
        raise DataError(
            f"{symbol}: {tick_size!r} and {lot_size!r} are not steps above zero.",
            "Give tick_size and lot_size as plain decimals, as in 0.1.",
        ) from error


def _decimals(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0
