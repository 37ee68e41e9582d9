"""How is the next batch read while the last one is worked on? A generator that runs in a thread.

Arrow and our kernels both release the interpreter's lock, so decoding and replaying overlap.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from typing import TypeVar

T = TypeVar("T")


def read_ahead(source: Generator[T, None, None], n_ahead: int = 2) -> Iterator[T]:
    """Yield what `source` yields, in order, read by a second thread, at most `n_ahead` early.

    An exception of the source is raised where its item would have come. When the consumer stops
    early the thread ends and the source is closed before `close` returns.
    """
    items: deque[T] = deque()
    failure: list[BaseException] = []
    room = threading.Semaphore(n_ahead)
    ready = threading.Semaphore(0)
    stop = threading.Event()

    def run() -> None:
        try:
            for item in source:
                items.append(item)
                del item  # the consumer alone decides how long a batch lives
                ready.release()
                room.acquire()
                if stop.is_set():
                    break
        except BaseException as error:
            failure.append(error)
        finally:
            source.close()
            ready.release()

    thread = threading.Thread(target=run, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            ready.acquire()
            if not items:
                break
            yield items.popleft()
            room.release()
    finally:
        stop.set()
        room.release()
        thread.join()
    if failure:
        raise failure[0]
