"""A recording four times as long needs no more memory to import."""

import tracemalloc

import pytest

from adapters.imports import kraken_trades, kraken_v2_book, tardis

LINE = (
    '{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/USD","bids":[{{"price":100.{digit},'
    '"qty":1.00000000}}],"asks":[],"checksum":1,"timestamp":"2026-01-01T00:{m:02}:{s:02}.000000Z"}}]}}\n'
)
START = 1_600_000_000


def archive(path, n):
    file = path / f"XBTUSD{n}" / "XBTUSD.csv"
    file.parent.mkdir()
    file.write_text("".join(f"{START + i},100.{i % 10},1.00000000\n" for i in range(n)))
    return kraken_trades.read(file)


def session(path, n):
    file = path / f"session{n}.jsonl"
    with file.open("w") as out:
        for i in range(n):
            kind = "update" if i else "snapshot"
            out.write(
                LINE.format(kind=kind, digit=i % 10, m=i * 3600 // n // 60, s=i * 3600 // n % 60)
            )
    return kraken_v2_book.read(file)


def books(path, n):
    file = path / f"book{n}.csv"
    rows = ["exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"]
    for i in range(n):
        stamp = START * 10**6 + i
        rows.append(
            f"kraken,BTC/USD,{stamp},{stamp},{'true' if i == 0 else 'false'},bid,{i % 9 + 1},1"
        )
    file.write_text("\n".join(rows) + "\n")
    return tardis.read(file)


@pytest.mark.long
@pytest.mark.parametrize(("made", "n"), [(archive, 15_000), (session, 9_000), (books, 7_000)])
def test_memory_does_not_grow_with_the_length(tmp_path, monkeypatch, made, n):
    monkeypatch.setattr("adapters.imports.columns.BLOCK_BYTES", 1 << 13)
    imports = [made(tmp_path, n), made(tmp_path, 4 * n)]
    imports[0].read_all()  # compiles what is compiled, which is not to be measured
    peaks, counts = [], []
    for each in imports:
        tracemalloc.start()
        counts.append(sum(len(batch) for batch in each.batches(rows=1024)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert counts[1] > 3 * counts[0]
    assert peaks[1] < 1.5 * peaks[0]
