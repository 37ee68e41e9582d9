"""The rules of what may import what, and what decides bits: held by reading the sources.

Each rule is a function from one parsed file to complaints; a complaint ends in what to do
instead. The table of samples at the end shows that every rule can fail, and what it lets pass.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What the pure packages stand on. These import each other, engine.errors, and nothing else of
# engine/, so that no door to the world opens behind them.
FOUNDATION = frozenset(
    {
        "engine.book",
        "engine.checksum",
        "engine.commands",
        "engine.events",
        "engine.instruments",
        "engine.jit",
        "engine.numerics",
        "engine.stage",
        "engine.units",
    }
)
# The composition that the command line, notebooks and tests share; like cli/ it may join all.
COMPOSITION = (
    *("adapters.cli", "adapters.record", "adapters.replay", "adapters.runs", "adapters.sessions"),
    *("adapters.attach", "adapters.attending", "adapters.features", "adapters.live"),
    "adapters.running",
    "adapters.start",
    *("adapters.mirroring", "adapters.operate", "adapters.pairs", "adapters.session_market"),
    *("adapters.publish", "adapters.sofar"),
    *("adapters.trading", "adapters.watching"),
)
# Recordings and our own venue speak Kraken's language: they share its decoder, never its sockets.
SPEAKS_KRAKEN = ("adapters.imports", "adapters.local_venue")
SHARED_WORDS = tuple(
    f"adapters.kraken.{name}"
    for name in (
        *("checksum", "feed", "limits", "names", "orders", "requests", "sign", "stamps"),
        *("rest_trades", "steps", "wire"),
    )
)
PURE_PACKAGES = ("engine.core", "engine.venue")
NAMES_ONLY = ("__future__", "typing")

# Every way to ask the machine for the time. Formatting a given time is no question.
WALL_CLOCK = frozenset(
    {f"datetime.datetime.{name}" for name in ("now", "today", "utcnow")}
    | {"datetime.date.today"}
    | {"time.clock_gettime", "time.clock_gettime_ns"}
    | {
        f"time.{name}{unit}"
        for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")
        for unit in ("", "_ns")
    }
)
LOG_WRITERS = (
    *("engine.flow.log", "engine.session.loop", "adapters.running"),
    *("adapters.kraken.keeper", "adapters.parquet.seal", "adapters.sessions"),
)
COMPILERS = frozenset(
    f"numba.{name}"
    for name in (
        *("cfunc", "experimental.jitclass", "generated_jit", "guvectorize", "jit", "jit_module"),
        *("njit", "stencil", "vectorize"),
    )
)
# Right to the last bit everywhere: comparisons, + - * /, sqrt. These are not.
INEXACT = frozenset(
    f"numpy.{name}"
    for name in (
        *("arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cbrt"),
        *("cos", "cosh", "exp", "exp2", "expm1", "float_power", "hypot", "log", "log10", "log1p"),
        *("log2", "logaddexp", "pow", "power", "sin", "sinh", "tan", "tanh"),
    )
)
REDUCTIONS = ("average", "cumsum", "dot", "mean", "nanmean", "nansum", "prod", "std", "sum", "var")


@dataclass(frozen=True)
class Source:
    """One file: where it is, what it is called when imported, and its tree."""

    path: str
    tree: ast.Module

    @classmethod
    def parse(cls, path: str, text: str) -> "Source":
        return cls(path, ast.parse(text, filename=path))

    @property
    def module(self) -> str:
        parts = self.path.removesuffix(".py").split("/")
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def package(self) -> str:
        """What a relative import starts from."""
        is_package = self.path.endswith("/__init__.py")
        return self.module if is_package else self.module.rpartition(".")[0]

    def within(self, *packages: str) -> bool:
        return inside(self.module, *packages)


def inside(module: str, *packages: str) -> bool:
    """Whether `module` is one of `packages` or below one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Line and dotted name of all that a file imports, at any depth of the file.

    `from a.b import c` gives a.b.c, since c may be a module; `from a.b import *` gives a.b.
    """
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            origin = absolute(source, node)
            for alias in node.names:
                yield node.lineno, origin if alias.name == "*" else f"{origin}.{alias.name}"


def absolute(source: Source, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    parts = source.package.split(".")
    base = parts[: len(parts) - (node.level - 1)]
    return ".".join([*base, node.module] if node.module else base)


def names_used(source: Source) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of all that a file takes from its imports, aliases resolved.

    With `import numpy as np`, `np.random.rand` gives numpy.random.rand; `from time import time`
    gives time.time where it is imported and again where it is used.
    """
    known: dict[str, str] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                # `import a.b` binds a; `import a.b as c` binds a.b
                bound = alias.asname or alias.name.partition(".")[0]
                known[bound] = alias.name if alias.asname else bound
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                known[alias.asname or alias.name] = f"{absolute(source, node)}.{alias.name}"
    yield from imports(source)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute | ast.Name):
            head, *rest = dotted(node)
            if head in known:
                yield node.lineno, ".".join([known[head], *rest])


def dotted(node: ast.expr) -> list[str]:
    """a.b.c as its words; the first is empty where the chain starts in a call or an index."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        return [*dotted(node.value), node.attr]
    return [""]


# ---- the rules ----


def engine_imports_no_adapter(source: Source) -> Iterator[str]:
    if not source.within("engine"):
        return
    for line, name in imports(source):
        if inside(name, "adapters"):
            yield (
                f"{source.path}:{line} imports {name}: let the caller hand it in; "
                "adapters import the engine and meet it in adapters/cli"
            )


def pure_packages_import_little(source: Source) -> Iterator[str]:
    """core/ and venue/ see numpy, the foundation and themselves."""
    for package in PURE_PACKAGES:
        if not source.within(package):
            continue
        for line, name in imports(source):
            if inside(name, "numpy", package, *NAMES_ONLY, *FOUNDATION):
                continue
            yield f"{source.path}:{line} imports {name}: {instead_of(name, package)}"


def instead_of(name: str, package: str) -> str:
    if inside(name, "time", "datetime"):
        return "take ts as an argument"
    if inside(name, "math", "cmath", "scipy"):
        return "use engine.numerics, whose bits are the same on every machine"
    if inside(name, "random", "secrets"):
        return "use the counter-based generator of engine.numerics"
    if inside(name, "logging", "structlog"):
        return "return a fault code or write a record; kernels log nothing"
    if inside(name, "numba"):
        return "use `kernel` of engine.jit"
    if inside(name, *PURE_PACKAGES):
        return "core and venue meet in engine/flow only; pass plain values"
    if inside(name, "engine.config"):
        return "let the caller flatten it into the parameter record"
    allowed = ", ".join(sorted(FOUNDATION))
    return f"{package} may import numpy, itself and {allowed}; take the rest as an argument"


def foundation_imports_foundation(source: Source) -> Iterator[str]:
    """What the pure packages import must not bring the rest of the engine in."""
    if source.module not in FOUNDATION:
        return
    for line, name in imports(source):
        if inside(name, "engine") and not inside(name, "engine.errors", *FOUNDATION):
            yield (
                f"{source.path}:{line} imports {name}: core and venue stand on this file; "
                "move what is needed down here, or what needs it up"
            )


def adapters_stand_apart(source: Source) -> Iterator[str]:
    """An adapter imports engine/ and itself. cli/ puts them together and may import all."""
    if not source.within("adapters") or any(source.within(each) for each in COMPOSITION):
        return
    own = ".".join(source.module.split(".")[:2])
    for line, name in imports(source):
        if inside(name, "adapters.cli") or name == "adapters":
            continue
        if any(source.within(each) for each in SPEAKS_KRAKEN) and inside(name, *SHARED_WORDS):
            continue
        if inside(name, "adapters") and not inside(name, own):
            yield (
                f"{source.path}:{line} imports {name}: an adapter knows no other; move what "
                "both need to engine/, or join the two in adapters/cli"
            )


def nothing_imports_the_cli(source: Source) -> Iterator[str]:
    if source.within("adapters.cli"):
        return
    for line, name in imports(source):
        if inside(name, "adapters.cli"):
            yield (
                f"{source.path}:{line} imports {name}: move the work out of the command, into "
                "engine/ or the adapter that does it, and call it from both"
            )


def only_the_clock_asks_the_time(source: Source) -> Iterator[str]:
    if not source.within("engine") or source.module == "engine.clock":
        return
    for line, name in names_used(source):
        if name in WALL_CLOCK:
            yield (
                f"{source.path}:{line} uses {name}: take ts as an argument, "
                "or a Clock of engine/clock.py at the edge"
            )


def no_fastmath(source: Source) -> Iterator[str]:
    for line in flags(source, "fastmath"):
        yield (
            f"{source.path}:{line} sets fastmath: it gives other bits on another CPU; "
            "leave it out and write the faster arithmetic by hand"
        )


def no_parallel(source: Source) -> Iterator[str]:
    for line in flags(source, "parallel"):
        yield (
            f"{source.path}:{line} sets parallel: its sums move with the thread count; "
            "run days or symbols in processes, each with a plain loop"
        )
    for line, name in names_used(source):
        if name == "numba.prange":
            yield f"{source.path}:{line} uses {name}: write a plain `range`"


def flags(source: Source, name: str) -> Iterator[int]:
    """Lines that set the flag `name` of numba, as an argument or as a key of its options.

    Only calls of a `jit` or `kernel`, and dictionaries: `parallel` means other things elsewhere.
    """
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            compiles = "jit" in dotted(node.func)[-1] or dotted(node.func)[-1] in (
                *("kernel", "vectorize", "guvectorize", "stencil", "dict"),
            )
            for keyword in node.keywords:
                if compiles and keyword.arg == name and not is_false(keyword.value):
                    yield keyword.value.lineno
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == name and not is_false(value):
                    yield value.lineno


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def no_random_state(source: Source) -> Iterator[str]:
    if not source.within("engine"):
        return
    for line, name in names_used(source):
        if inside(name, "numpy.random", "random", "secrets"):
            yield (
                f"{source.path}:{line} uses {name}: use the counter-based generator of "
                "engine.numerics, keyed by (seed, stream, counter)"
            )


def only_jit_compiles(source: Source) -> Iterator[str]:
    if source.module == "engine.jit":
        return
    for line, name in names_used(source):
        if name in COMPILERS:
            yield (
                f"{source.path}:{line} uses {name}: decorate with `kernel` of engine.jit, "
                "which knows the flags and when the cache is stale"
            )


def few_write_logs(source: Source) -> Iterator[str]:
    """The log is the journal: sessions and captures write theirs, a report never opens one for writing."""
    if source.module in LOG_WRITERS:
        return
    for line, name in imports(source):
        if name in ("engine.flow.log.LogWriter", "engine.flow.log.recover_log"):
            yield f"{source.path}:{line} imports {name}: read with LogReader; a session writes its own log"


def no_power(source: Source) -> Iterator[str]:
    """`**` is exact between constant integers; `x**3` in numba is not `x**3` in Python."""
    if not source.within(*PURE_PACKAGES):
        return
    for line in powers(source.tree):
        yield (
            f"{source.path}:{line} raises to a power: multiply, look it up in a table, "
            "or use engine.numerics; compiled and plain Python disagree in the last bit"
        )


def powers(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            if not (is_whole(node.left) and is_whole(node.right)):
                yield node.lineno
        elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Pow):
            yield node.lineno
        elif isinstance(node, ast.Call) and dotted(node.func) == ["pow"]:
            yield node.lineno


def is_whole(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int


def no_inexact_functions(source: Source) -> Iterator[str]:
    """libm has other bits on other machines, and numpy's sums depend on its build."""
    if not source.within(*PURE_PACKAGES):
        return
    for line, name in names_used(source):
        if name in INEXACT:
            yield (
                f"{source.path}:{line} uses {name}: use engine.numerics, "
                "whose bits are the same on every machine"
            )
        elif name.removeprefix("numpy.") in REDUCTIONS and inside(name, "numpy"):
            yield f"{source.path}:{line} uses {name}: write the loop, so that the order is yours"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            head, *_, last = dotted(node.func)
            if last in REDUCTIONS and head not in ("np", "numpy"):
                yield (
                    f"{source.path}:{node.lineno} calls .{last}(): "
                    "write the loop, so that the order is yours"
                )


Rule = Callable[[Source], Iterator[str]]
RULES: list[Rule] = [
    engine_imports_no_adapter,
    pure_packages_import_little,
    foundation_imports_foundation,
    adapters_stand_apart,
    nothing_imports_the_cli,
    only_the_clock_asks_the_time,
    no_fastmath,
    no_parallel,
    no_random_state,
    only_jit_compiles,
    few_write_logs,
    no_power,
    no_inexact_functions,
]


# ---- this repository keeps them ----


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    files = [path for top in ("adapters", "engine") for path in (ROOT / top).rglob("*.py")]
    return [
        Source.parse(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(files)
    ]


def test_both_packages_are_read(sources: list[Source]) -> None:
    """A rule over no files would pass."""
    assert {source.module.partition(".")[0] for source in sources} == {"adapters", "engine"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_sources_keep_the_rule(rule: Rule, sources: list[Source]) -> None:
    complaints = [complaint for source in sources for complaint in rule(source)]

    assert not complaints, "\n".join(["", *complaints])


# ---- every rule can fail, and lets pass what is right ----

BROKEN = [
    (engine_imports_no_adapter, "engine/flow/driver.py", "import adapters.parquet.reader"),
    (engine_imports_no_adapter, "engine/config.py", "from adapters import kraken"),
    (engine_imports_no_adapter, "engine/clock.py", "def f():\n    from adapters.cli import run"),
    (pure_packages_import_little, "engine/venue/queue.py", "import time"),
    (pure_packages_import_little, "engine/core/step.py", "import math"),
    (pure_packages_import_little, "engine/core/step.py", "from numba import njit"),
    (pure_packages_import_little, "engine/core/step.py", "import structlog"),
    (pure_packages_import_little, "engine/core/step.py", "from engine import config"),
    (pure_packages_import_little, "engine/core/step.py", "from engine.venue import queue"),
    (pure_packages_import_little, "engine/venue/step.py", "from engine.core.step import step"),
    (pure_packages_import_little, "engine/core/step.py", "from ..flow import log"),
    (pure_packages_import_little, "engine/core/__init__.py", "from ..venue import queue"),
    (pure_packages_import_little, "engine/core/step.py", "from engine.bookkeeping import x"),
    (foundation_imports_foundation, "engine/units.py", "from engine.config import Config"),
    (foundation_imports_foundation, "engine/book.py", "from .core import step"),
    (adapters_stand_apart, "adapters/kraken/wire.py", "from adapters.parquet import writer"),
    (adapters_stand_apart, "adapters/kraken/wire.py", "from ..parquet.writer import write"),
    (adapters_stand_apart, "adapters/kraken/wire.py", "from adapters import parquet"),
    (adapters_stand_apart, "adapters/metrics.py", "import adapters.kraken"),
    (adapters_stand_apart, "adapters/imports/books.py", "from adapters.kraken import public"),
    (adapters_stand_apart, "adapters/parquet/seal.py", "from adapters.kraken import feed"),
    (nothing_imports_the_cli, "adapters/kraken/public.py", "from adapters.cli import main"),
    (nothing_imports_the_cli, "adapters/kraken/public.py", "from adapters import cli"),
    (nothing_imports_the_cli, "engine/flow/driver.py", "import adapters.cli.main"),
    (only_the_clock_asks_the_time, "engine/flow/log.py", "import time\nt = time.time_ns()"),
    (only_the_clock_asks_the_time, "engine/flow/log.py", "import time as t\nf(now=t.monotonic)"),
    (only_the_clock_asks_the_time, "engine/flow/log.py", "from time import perf_counter"),
    (
        only_the_clock_asks_the_time,
        "engine/reports/day.py",
        "from datetime import datetime, UTC\nx = datetime.now(UTC)",
    ),
    (
        only_the_clock_asks_the_time,
        "engine/reports/day.py",
        "import datetime as dt\nx = dt.datetime.utcnow()",
    ),
    (no_fastmath, "engine/jit.py", "numba.njit(fastmath=True)"),
    (no_fastmath, "engine/jit.py", "FLAGS = {'cache': True, 'fastmath': {'nnan'}}"),
    (no_fastmath, "engine/jit.py", "FLAGS = dict(fastmath=True)"),
    (no_parallel, "engine/core/step.py", "@kernel(parallel=True)\ndef f(): ..."),
    (no_parallel, "engine/research/sums.py", "from numba import prange"),
    (no_random_state, "engine/research/bands.py", "import numpy as np\nr = np.random.rand()"),
    (no_random_state, "engine/research/bands.py", "from numpy.random import default_rng"),
    (no_random_state, "engine/research/bands.py", "import random"),
    (only_jit_compiles, "engine/core/step.py", "import numba as nb\n@nb.njit\ndef f(): ..."),
    (only_jit_compiles, "engine/core/step.py", "from numba import jit"),
    (few_write_logs, "engine/reports/day.py", "from engine.flow.log import LogWriter"),
    (few_write_logs, "adapters/publish.py", "from engine.flow.log import recover_log"),
    (only_jit_compiles, "adapters/kraken/scan.py", "from numba import njit as fast"),
    (only_jit_compiles, "engine/core/step.py", "from numba.experimental import jitclass"),
    (no_power, "engine/core/step.py", "y = x**2"),
    (no_power, "engine/core/step.py", "y = 10**digits"),
    (no_power, "engine/venue/step.py", "y = 2**0.5"),
    (no_power, "engine/venue/step.py", "x **= 2"),
    (no_power, "engine/venue/step.py", "y = pow(x, 2)"),
    (no_inexact_functions, "engine/core/step.py", "import numpy as np\ny = np.exp(x)"),
    (no_inexact_functions, "engine/core/step.py", "from numpy import log"),
    (no_inexact_functions, "engine/core/step.py", "import numpy as np\ny = np.sum(x)"),
    (no_inexact_functions, "engine/venue/step.py", "y = state['qty'].sum()"),
]

SOUND = [
    (engine_imports_no_adapter, "engine/flow/driver.py", "import adaptersmith"),
    (engine_imports_no_adapter, "adapters/kraken/public.py", "from adapters.kraken import wire"),
    (pure_packages_import_little, "engine/core/step.py", "import numpy as np"),
    (pure_packages_import_little, "engine/core/step.py", "from engine.jit import kernel"),
    (pure_packages_import_little, "engine/core/step.py", "from engine import book, units"),
    (pure_packages_import_little, "engine/core/step.py", "from engine.core import gates"),
    (pure_packages_import_little, "engine/core/step.py", "from .gates import spread"),
    (pure_packages_import_little, "engine/core/step.py", "from typing import Final"),
    (pure_packages_import_little, "engine/venue/__init__.py", "from . import queue"),
    (pure_packages_import_little, "engine/flow/driver.py", "import time"),
    (foundation_imports_foundation, "engine/book.py", "import numba, engine.jit"),
    (foundation_imports_foundation, "engine/units.py", "from decimal import Decimal"),
    (foundation_imports_foundation, "engine/units.py", "from engine.errors import DataError"),
    (foundation_imports_foundation, "engine/config.py", "from engine.flow import log"),
    (adapters_stand_apart, "adapters/kraken/wire.py", "from adapters.kraken import limits"),
    (adapters_stand_apart, "adapters/kraken/wire.py", "from . import limits"),
    (adapters_stand_apart, "adapters/kraken/wire.py", "from engine.events import EVENT"),
    (adapters_stand_apart, "adapters/cli/run.py", "from adapters.parquet import reader"),
    (adapters_stand_apart, "adapters/imports/books.py", "from adapters.kraken import wire"),
    (adapters_stand_apart, "adapters/local_venue/core.py", "from adapters.kraken.names import x"),
    (adapters_stand_apart, "adapters/record.py", "from adapters.kraken import live"),
    (nothing_imports_the_cli, "adapters/cli/main.py", "from adapters.cli import run"),
    (nothing_imports_the_cli, "adapters/kraken/wire.py", "import adapters.client"),
    (only_the_clock_asks_the_time, "engine/clock.py", "import time\nt = time.time_ns()"),
    (only_the_clock_asks_the_time, "adapters/cli/run.py", "import time\nt = time.time()"),
    (
        only_the_clock_asks_the_time,
        "engine/reports/day.py",
        "from datetime import datetime\nx = datetime.fromtimestamp(ts)",
    ),
    (only_the_clock_asks_the_time, "engine/flow/log.py", "t = event.time.time()"),
    (no_fastmath, "engine/jit.py", "numba.njit(fastmath=False)"),
    (no_parallel, "adapters/parquet/reader.py", "pl.scan(path, parallel='columns')"),
    (no_parallel, "engine/jit.py", "FLAGS = {'parallel': False}"),
    (no_random_state, "engine/research/bands.py", "import numpy as np\nr = table.random.rand()"),
    (no_random_state, "engine/numerics.py", "def random(seed, stream, counter): ..."),
    (only_jit_compiles, "engine/jit.py", "import numba\nnumba.njit()"),
    (few_write_logs, "adapters/running.py", "from engine.flow.log import LogWriter"),
    (few_write_logs, "engine/reports/day.py", "from engine.flow.log import LogReader"),
    (only_jit_compiles, "engine/flow/warm.py", "import numba\nv = numba.__version__"),
    (no_power, "engine/core/step.py", "MASK = 2**32 - 1"),
    (no_power, "engine/core/step.py", "def f(**rest): ..."),
    (no_power, "engine/reports/day.py", "y = x**2"),
    (no_inexact_functions, "engine/core/step.py", "import numpy as np\ny = np.sqrt(x)"),
    (no_inexact_functions, "engine/core/step.py", "from engine.numerics import exp\ny = exp(x)"),
    (no_inexact_functions, "engine/reports/day.py", "import numpy as np\ny = np.mean(x)"),
]


@pytest.mark.parametrize(("rule", "path", "text"), BROKEN)
def test_a_broken_rule_is_named_with_its_file(rule: Rule, path: str, text: str) -> None:
    complaints = list(rule(Source.parse(path, text)))

    assert complaints
    assert all(complaint.startswith(f"{path}:") for complaint in complaints)


@pytest.mark.parametrize(("rule", "path", "text"), SOUND)
def test_what_a_rule_does_not_mean_passes(rule: Rule, path: str, text: str) -> None:
    complaints = list(rule(Source.parse(path, text)))

    assert complaints == []


def test_every_rule_is_shown_to_fail() -> None:
    assert set(RULES) == {rule for rule, _, _ in BROKEN}
