"""A local venue in a thread of its own, for clients that block or bring their own event loop.

With TLS, since a client that we did not write may know no other: a certificate authority made for
the test, whose root is all that the client is told to trust.
"""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme

from adapters.local_venue import LocalVenue, serve


class Authority:
    """A certificate authority of one test; `root` is its certificate as a file."""

    def __init__(self, folder: Path) -> None:
        made = trustme.CA()
        self.root = folder / "root.pem"
        made.cert_pem.write_to_path(str(self.root))
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.issue_cert("localhost", "127.0.0.1").configure_cert(self.server)

    def client(self) -> ssl.SSLContext:
        """What a client trusts: this root and nothing else."""
        return ssl.create_default_context(cafile=str(self.root))


@contextmanager
def running_venue(**arguments: Any) -> Iterator[LocalVenue]:
    """`serve(**arguments)` for as long as the block lasts, in a thread."""
    started, stop = threading.Event(), asyncio.Event()
    found: list[LocalVenue] = []
    failed: list[BaseException] = []
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with serve(**arguments) as venue:
            found.append(venue)
            started.set()
            await stop.wait()

    def main() -> None:
        try:
            loop.run_until_complete(run())
        except BaseException as error:
            failed.append(error)
        finally:
            started.set()
            loop.close()

    thread = threading.Thread(target=main, daemon=True)
    thread.start()
    started.wait(60)
    try:
        if failed:
            raise failed[0]
        yield found[0]
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        assert not thread.is_alive(), "the venue does not end"
    if failed:
        raise failed[0]
