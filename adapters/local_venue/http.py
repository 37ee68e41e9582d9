"""How does HTTP reach REST? One connection, request after request; the sans-I/O parser is h11.

Left out: what is answered (rest.py). h11 comes with httpx, so this needs nothing new; a framework
would hide what a venue does badly on purpose, as faults want it to.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final

import h11

from adapters.local_venue.rest import Answer

BODY_MAX: Final = 1 << 20
READ: Final = 1 << 16

# Method, target, headers and body to an answer; None closes the connection without one.
Handler = Callable[[str, str, Mapping[str, str], bytes], Answer | None]


class _Request:
    """One request with its whole body."""

    def __init__(self, head: h11.Request) -> None:
        self.method, self.target = head.method.decode(), head.target.decode()
        self.headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        self.body = bytearray()


async def serve_http(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler
) -> None:
    """Answer the requests of one connection until it ends."""
    parser = h11.Connection(h11.SERVER)
    try:
        while True:
            request = await _next_request(parser, reader, writer)
            if request is None:
                break
            answer = handle(request.method, request.target, request.headers, bytes(request.body))
            if answer is None:
                break
            await _send(parser, writer, answer, request.method)
            if parser.our_state is h11.MUST_CLOSE:
                break
            parser.start_next_cycle()
    except (h11.ProtocolError, ConnectionError, asyncio.IncompleteReadError, UnicodeDecodeError):
        pass  # a client that does not speak HTTP, or is gone: nothing can be answered
    except asyncio.CancelledError:
        writer.transport.abort()
        raise
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, OSError):
            await writer.wait_closed()


async def _next_request(
    parser: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> _Request | None:
    request: _Request | None = None
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            if parser.they_are_waiting_for_100_continue:
                go = h11.InformationalResponse(status_code=100, headers=[])
                writer.write(parser.send(go) or b"")
                await writer.drain()
            parser.receive_data(await reader.read(READ))
        elif isinstance(event, h11.Request):
            request = _Request(event)
        elif isinstance(event, h11.Data) and request is not None:
            request.body += event.data
            if len(request.body) > BODY_MAX:
                return None
        elif isinstance(event, h11.EndOfMessage):
            return request
        else:  # the connection has ended
            return None


async def _send(
    parser: h11.Connection, writer: asyncio.StreamWriter, answer: Answer, method: str
) -> None:
    headers = [
        ("content-type", answer.content_type),
        ("content-length", str(len(answer.body))),
    ]
    head = h11.Response(status_code=answer.status, headers=headers)
    data = parser.send(head) or b""
    if method != "HEAD":
        data += parser.send(h11.Data(data=answer.body)) or b""
    data += parser.send(h11.EndOfMessage()) or b""
    writer.write(data)
    await writer.drain()
