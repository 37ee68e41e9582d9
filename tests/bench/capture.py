"""How much of a core does a capture take? Fifty books at a fixed rate over a real socket.

A server in a process of its own plays frames that were made before; the capture runs in another,
with event log, sync and all, and tells its own CPU time. `python -m tests.bench.capture [RATE]
[SECONDS]` prints one JSON line. Sealing is not in it: it runs later, in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support.frames import BookSource, Scale

N_SYMBOLS = 50
SYMBOLS = tuple(f"A{i:02d}/USD" for i in range(N_SYMBOLS))
DEPTH = 10


def pair(symbol: str) -> dict[str, Any]:
    base, quote = symbol.split("/")
    steps = {"price_precision": 1, "price_increment": 0.1, "qty_precision": 8}
    steps |= {"qty_increment": 1e-08, "qty_min": 0.0001, "cost_min": 0.5, "cost_precision": 5}
    return {"symbol": symbol, "base": base, "quote": quote, "status": "online", **steps}


async def play(rate: int, seconds: float) -> None:
    """Serve one client: snapshots, then updates in turns of ten milliseconds."""
    from websockets.asyncio.server import serve

    sources = [BookSource(Scale(each), DEPTH, seed=i) for i, each in enumerate(SYMBOLS)]
    snapshots = [each.snapshot() for each in sources]
    n = int(rate * seconds)
    updates = [sources[i % N_SYMBOLS].update() for i in range(n)]
    ended = asyncio.Event()

    async def client(socket: Any) -> None:
        status = {"system": "online", "api_version": "v2", "version": "2", "connection_id": 1}
        await socket.send(json.dumps({"channel": "status", "type": "update", "data": [status]}))
        started = False
        async for text in socket:
            request = json.loads(text)
            params = request.get("params", {})
            for symbol in params.get("symbol", [""]):
                result = {"channel": params.get("channel"), "symbol": symbol}
                reply = {"method": request["method"], "req_id": request["req_id"]}
                await socket.send(json.dumps(reply | {"success": True, "result": result}))
            if params.get("channel") == "instrument":
                data = {"assets": [], "pairs": [pair(each) for each in SYMBOLS]}
                frame = {"channel": "instrument", "type": "snapshot", "data": data}
                await socket.send(json.dumps(frame))
            if params.get("channel") == "book" and not started:
                started = True
                for frame in snapshots:
                    await socket.send(frame, text=True)
                task = asyncio.create_task(stream(socket))
        del task

    async def stream(socket: Any) -> None:
        begin = time.perf_counter()
        sent = 0
        while sent < n:
            due = min(n, int((time.perf_counter() - begin) * rate))
            for frame in updates[sent:due]:
                await socket.send(frame, text=True)
            sent = max(sent, due)
            await asyncio.sleep(0.01)
        ended.set()

    async with serve(client, "127.0.0.1", 0, compression=None, max_size=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await ended.wait()
        await asyncio.sleep(1.0)


def capture(port: int, rate: int, seconds: float) -> dict[str, Any]:
    from adapters.kraken.capture import CaptureConfig
    from adapters.kraken.live import Hosts
    from adapters.record import record

    seen: dict[str, Any] = {}
    marks: list[tuple[float, float, int]] = []  # wall, CPU, events, at each look
    box: dict[str, asyncio.Event] = {}

    def progress(facts: dict[str, Any]) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        marks.append((time.perf_counter(), usage.ru_utime + usage.ru_stime, facts["frames"]))
        for name in ("decode_lag_ms", "writer_lag_ms"):
            seen[name] = max(seen.get(name, 0.0), facts[name])
        seen.update(gaps=facts["gaps"], right=facts["checksums_right"])
        if facts["frames"] >= rate * seconds:
            box["ended"].set()

    with tempfile.TemporaryDirectory() as store:
        record(
            store,
            CaptureConfig(symbols=SYMBOLS, channels={"book": DEPTH}),
            Hosts(f"ws://127.0.0.1:{port}/v2"),
            stop=lambda ended: box.update(ended=ended),
            for_s=seconds + 30,
            progress=progress,
            disk_free_min=0,
        )
        size = sum(each.stat().st_size for each in Path(store).rglob("*.parquet"))
    # From the second look on: starting and compiling are not the question.
    steady = [each for each in marks if each[2] > rate]
    (t0, cpu0, n0), (t1, cpu1, n1) = steady[0], steady[-2]
    return {
        "symbols": N_SYMBOLS,
        "messages_per_s": round((n1 - n0) / (t1 - t0)),
        "cores": round((cpu1 - cpu0) / (t1 - t0), 3),
        "microseconds_per_message": round(1e6 * (cpu1 - cpu0) / (n1 - n0), 1),
        "checksums_right": seen["right"],
        "gaps": seen["gaps"],
        "decode_lag_ms_max": seen["decode_lag_ms"],
        "writer_lag_ms_max": seen["writer_lag_ms"],
        "parquet_bytes_per_message": round(size / max(1, seen["right"]), 1),
    }


def main(rate: int = 5000, seconds: float = 10.0) -> None:
    arguments = [sys.executable, "-m", "tests.bench.capture", "play", str(rate), str(seconds)]
    server = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())
        print(json.dumps(capture(port, rate, seconds)))
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["play"]:
        asyncio.run(play(int(sys.argv[2]), float(sys.argv[3])))
    else:
        main(*(int(sys.argv[1]), float(sys.argv[2])) if len(sys.argv) > 2 else ())
