"""One hash over much work, to be compared between environments. Run as a module, it prints it.

`python -m tests.naive.digests numerics` in a process of its own: another hash seed, another CPU
target, or no compiler at all must print the same line.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable

import numpy as np

from engine.book import (
    BOOK,
    book_best,
    book_clear,
    book_crossed,
    book_next,
    book_previous,
    book_set,
    book_truncate,
)
from engine.checksum import crc32_book
from engine.numerics import (
    canonical,
    erfc,
    exp,
    exponential,
    integer,
    log,
    normal,
    normal_cdf,
    normal_quantile,
    random_bits,
    ratio,
    sqrt,
    tanh,
    uniform,
)
from engine.research.synthetic import GeneratorConfig, generate


def numerics() -> str:
    """Elementary functions over their whole range, and draws of every kind."""
    digest = hashlib.sha256()
    for i in range(1_500):
        x = normal(1, i % 5, i)
        wide = 200.0 * x
        floats = [exp(wide), exp(x), tanh(x), tanh(wide), erfc(x), normal_cdf(5.0 * x), sqrt(x)]
        floats += [log(x), log(exp(wide)), ratio(x, wide), ratio(i, i % 3), canonical(-0.0 * x)]
        floats += [uniform(2, i, -i), exponential(3, -i, i), normal_quantile(uniform(4, 4, i))]
        digest.update(np.array(floats, np.float64).tobytes())
        whole = [random_bits(-i, 1 << 60, i), integer(5, i, i * i, 10**15 + i)]
        digest.update(np.array(whole, np.int64).tobytes())
    return digest.hexdigest()


def books() -> str:
    """A walk with jumps, cuts and clears; everything the book answers."""
    digest = hashlib.sha256()
    book = np.zeros(1, BOOK)[0]
    mid = 1 << 33
    for i in range(4_000):
        draw = [integer(9, k, i, 1_000_000) for k in range(6)]
        if draw[0] < 3_000:
            mid += draw[1] % 60_001 - 30_000
        if draw[0] > 999_000:
            book_clear(book)
        mid += draw[1] % 7 - 3
        i_side = draw[2] & 1
        reach = 1 + draw[3] % (20 if draw[4] % 3 else 5_000)
        price = mid + (reach if i_side else -reach)
        old = book_set(book, i_side, price, draw[5] % 4)
        answers = [old, book_best(book, 0), book_best(book, 1), int(book_crossed(book))]
        answers += [book_next(book, i_side, price), book_previous(book, i_side, price)]
        if draw[4] % 40 == 0:
            book_truncate(book, 25)
            answers.append(crc32_book(book, 5, 100))
        digest.update(np.array(answers, np.int64).tobytes())
    digest.update(book.tobytes())
    return digest.hexdigest()


def market() -> str:
    """A short stretch of a stormy market."""
    digest = hashlib.sha256()
    config = GeneratorConfig(seed=3, duration_s=12.0, warmup_s=4.0, jumps_per_hour=400.0)
    for events in generate(config):
        digest.update(events.tobytes())
    return digest.hexdigest()


PIECES: dict[str, Callable[[], str]] = {"numerics": numerics, "books": books, "market": market}

if __name__ == "__main__":
    for name in sys.argv[1:] or PIECES:
        print(name, PIECES[name]())
