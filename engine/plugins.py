"""How does a person add a route family of their own? A decorator, and the check behind it.

    from engine.plugins import F, OUT, family, parameters

    P = parameters(t_min=2.0, share=0.5)

    @family(name="drift_only", params=P, half_life_s=120.0, regimes=("TREND",))
    def drift_only(f, p, out):
        t = f[F.drift_t_15m]
        if t < p[P.t_min]:
            return
        out[OUT.active] = 1.0
        ...

The function is compiled to a value that the compiled core is handed, so nothing else is compiled
again. What would make a run depend on the machine or the hour (clocks, random numbers, libm) is
refused here. Left out: what happens with the answer (engine/core/theses.py onwards).
docs/howto-add-a-family.md is the guide.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import inspect
import json
import math
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

import numpy as np

from engine.core.columns import (
    FEATURE_INDEX,
    FEATURE_VERSION,
    N_FAMILY_PARAMS,
    N_FEATURES,
    N_OUT,
    OUT_ACTIVE,
    OUT_CONFIDENCE,
    OUT_HALF_LIFE_S,
    OUT_HISTORY,
    OUT_INVALIDATION_BPS,
    OUT_MOVE_BPS,
    OUT_REASON,
    OUT_SD_BPS,
)
from engine.core.families.contract import (
    N_OWN_PARAMS,
    P_HALF_LIFE_S,
    P_MAKER_FEE_BPS,
    P_TAKER_FEE_BPS,
)
from engine.core.records import REASONS
from engine.core.regime import REGIME_NAMES, REGIME_UNKNOWN
from engine.core.routes import FAMILY_NAMES, FAMILY_PLUGIN, N_PLUGINS
from engine.core.theses import (
    ask_thesis,
    no_family,
)
from engine.errors import ConfigError
from engine.jit import JIT_ENABLED, function_value, user_kernel

GUIDE: Final = "docs/howto-add-a-family.md shows one that works."

# Right to the last bit on every machine; all else in these modules is refused.
_EXACT_MATH: Final = frozenset(
    {"ceil", "copysign", "e", "fabs", "floor", "fmod", "inf", "isfinite", "isinf", "isnan"}
    | {"nan", "pi", "sqrt", "tau", "trunc"}
)
_EXACT_NUMPY: Final = frozenset(
    {"abs", "absolute", "ceil", "fabs", "floor", "isfinite", "isinf", "isnan", "inf", "maximum"}
    | {"minimum", "nan", "pi", "rint", "sign", "sqrt", "trunc"}
    | {"bool_", "float64", "int64"}
)
_FORBIDDEN_STATEMENTS: Final[dict[type[ast.AST], str]] = {
    ast.Raise: "raise: a family cannot stop a run; leave out[OUT.active] at 0 instead",
    ast.Assert: "assert: a family cannot stop a run; leave out[OUT.active] at 0 instead",
    ast.Try: "try: nothing raises in compiled code; test the value instead",
    ast.With: "with: a family has no resources",
    ast.Global: "global: a family keeps no state between calls",
    ast.Nonlocal: "nonlocal: a family keeps no state between calls",
    ast.Import: "import inside the function: import at the top of the file",
    ast.ImportFrom: "import inside the function: import at the top of the file",
    ast.Await: "await: a family only computes",
    ast.Yield: "yield: a family only computes",
}


class Names(ModuleType):
    """Positions in an array by name, `F.drift_t_15m`; an unknown name is refused with the nearest.

    A module, because numba reads the attributes of a module as constants.
    """

    def __init__(self, title: str, positions: Mapping[str, int]) -> None:
        super().__init__(title)
        self.__dict__.update(positions)
        self.__dict__["positions_"] = dict(positions)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        known = self.__dict__["positions_"]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.0)
        raise AttributeError(
            f"{self.__name__} has no {name!r}. Nearest known: {', '.join(near) or 'none'}."
        )

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{self.__name__}.{name} is a position and cannot be set.")


F: Final = Names("F", FEATURE_INDEX)  # features: f[F.spread_bps]
OUT: Final = Names(  # answers: out[OUT.active] = 1.0
    "OUT",
    {
        "active": OUT_ACTIVE,
        "move_bps": OUT_MOVE_BPS,
        "sd_bps": OUT_SD_BPS,
        "confidence": OUT_CONFIDENCE,
        "invalidation_bps": OUT_INVALIDATION_BPS,
        "half_life_s": OUT_HALF_LIFE_S,
        "reason": OUT_REASON,
        "history": OUT_HISTORY,
    },
)


class Parameters(Names):
    """A family's parameters: `P.t_min` is a position in `p`, `P.defaults` their defaults.

    `maker_fee_bps`, `taker_fee_bps` and `half_life_s` are always there, set by the core.
    """

    defaults: dict[str, float]

    def __init__(self, defaults: Mapping[str, float]) -> None:
        positions = {name: i for i, name in enumerate(defaults)}
        reserved = {
            "maker_fee_bps": P_MAKER_FEE_BPS,
            "taker_fee_bps": P_TAKER_FEE_BPS,
            "half_life_s": P_HALF_LIFE_S,
        }
        if len(defaults) > N_OWN_PARAMS:
            raise ConfigError(
                f"{len(defaults)} parameters, a family may have {N_OWN_PARAMS}.",
                "Make constants of those that you do not vary.",
            )
        for name, value in defaults.items():
            if name in reserved or name in ("defaults", "positions_"):
                raise ConfigError(f"parameter {name!r} is set by the core.", "Choose another name.")
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"parameter {name!r} is {value!r}.", "Give it a number.")
            if not math.isfinite(value):
                raise ConfigError(f"parameter {name!r} is {value!r}.", "Give it a finite number.")
        super().__init__("P", positions | reserved)
        self.__dict__["defaults"] = {name: float(value) for name, value in defaults.items()}


def parameters(**defaults: float) -> Parameters:
    """Name a family's parameters and their defaults: `P = parameters(t_min=2.0)`."""
    return Parameters(defaults)


def helper(function: Callable[..., Any]) -> Any:
    """Compile a function that a family calls. Its source enters the family's digest."""
    return user_kernel(function)


@dataclass(frozen=True)
class Family:
    """A user's route family: the compiled function and what the core must know about it."""

    name: str
    function: Callable[..., None] = field(repr=False)  # as written
    value: Any = field(repr=False)  # what the core is handed
    params: dict[str, float]
    half_life_s: float
    tape: bool
    taker: bool
    regimes: tuple[str, ...]
    needs: tuple[str, ...]
    net_min_bps: float
    digest: str

    def fill(self, row: Any, code: int) -> None:
        """Write this family into a PARAMS record as family `code` (FAMILY_PLUGIN + i)."""
        row["family_enabled"][code] = 1
        row["family_params"][code][:] = 0.0
        for slot, value in enumerate(self.params.values()):
            row["family_params"][code][slot] = value
        row["family_half_life_s"][code] = self.half_life_s
        row["family_net_min_bps"][code] = self.net_min_bps
        row["family_tape"][code] = int(self.tape)
        row["family_taker"][code] = int(self.taker)
        for regime, name in REGIME_NAMES.items():
            row["regime_allows"][code][regime] = int(name in self.regimes)

    def describe(self) -> dict[str, Any]:
        """What the run's manifest says of it."""
        return {
            "name": self.name,
            "digest": self.digest,
            "params": dict(self.params),
            "half_life_s": self.half_life_s,
            "tape": self.tape,
            "taker": self.taker,
            "regimes": list(self.regimes),
            "needs": list(self.needs),
            "net_min_bps": self.net_min_bps,
        }

    def ask(
        self,
        params: Mapping[str, float] | None = None,
        maker_fee_bps: float = 0.0,
        taker_fee_bps: float = 0.0,
        **features: float,
    ) -> dict[str, Any]:
        """What does it answer to these features? For trying an idea out; others are NaN.

        returns the answer by name, and "code": OK, THESIS_INACTIVE ... as the core would see it
        """
        f = np.full(N_FEATURES, np.nan)
        f[F.inventory] = 0.0
        f[F.horizon] = 60.0
        for name, value in features.items():
            f[_known(name, FEATURE_INDEX, f"{self.name}.ask")] = value
        p = np.zeros(N_FAMILY_PARAMS)
        p[: len(self.params)] = list(self.params.values())
        for name, value in (params or {}).items():
            p[_known(name, _positions(self.params), f"{self.name}.ask params")] = value
        p[P_MAKER_FEE_BPS], p[P_TAKER_FEE_BPS] = maker_fee_bps, taker_fee_bps
        p[P_HALF_LIFE_S] = self.half_life_s
        out = np.zeros(N_OUT)
        code = ask_thesis(FAMILY_PLUGIN, f, p, out, plugin_tuple((self,)))
        answer = {name: float(out[i]) for name, i in OUT.__dict__["positions_"].items()}
        return {"code": REASONS[int(code)][0], **answer}

    def __call__(self, f: np.ndarray, p: np.ndarray, out: np.ndarray) -> None:
        """The function as written, uncompiled, for a debugger."""
        self.function(f, p, out)


def _positions(names: Mapping[str, Any]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}


def _known(name: str, positions: Mapping[str, int], place: str) -> int:
    if name not in positions:
        near = difflib.get_close_matches(name, positions, n=3, cutoff=0.0)
        raise ConfigError(
            f"{place}: {name!r} is not known.",
            f"Nearest: {', '.join(near)}." if near else "There are none.",
        )
    return positions[name]


def family(
    *,
    name: str,
    half_life_s: float,
    params: Parameters | Mapping[str, float] | None = None,
    tape: bool = False,
    taker: bool = False,
    regimes: Sequence[str] = ("RANGE", "TREND", "HIGH_VOLATILITY"),
    needs: Sequence[str] | None = None,
    net_min_bps: float = 0.0,
) -> Callable[[Callable[[Any, Any, Any], None]], Family]:
    """Make a route family of a function `idea(f, p, out)`.

    name : small letters, digits, underscores; what tables and profiles call it
    half_life_s : how fast the signal fades, unless the function sets out[OUT.half_life_s]
    params : `parameters(...)`, or a dict of name to default; a profile may change them
    tape : it lives on trades, so it is stale without fresh ones; taker : it may take liquidity
    regimes : where it may enter; needs : features that must be known before it is asked (default:
        all that the function names); net_min_bps : added to readiness.net_min_bps

    raises ConfigError for what cannot be compiled or would not repeat
    """

    def decorate(function: Callable[[Any, Any, Any], None]) -> Family:
        place = f"family {name!r}"
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name) or name in FAMILY_NAMES.values():
            raise ConfigError(
                f"{name!r} cannot name a family.",
                "Use 1 to 32 small letters, digits and underscores, and no name of a built-in one.",
            )
        if not (math.isfinite(half_life_s) and half_life_s > 0.0 and math.isfinite(net_min_bps)):
            raise ConfigError(
                f"{place}: half_life_s {half_life_s!r}, net_min_bps {net_min_bps!r}.",
                "Both must be finite, the half-life above 0.",
            )
        allowed = tuple(each.upper() for each in regimes)
        tradable = {each: code for code, each in REGIME_NAMES.items() if code != REGIME_UNKNOWN}
        for regime in allowed:
            _known(regime, tradable, f"{place} regimes")
        own = params if isinstance(params, Parameters) else Parameters(params or {})
        sources = list(_reachable(function, place))
        if needs is None:
            wanted = tuple(sorted(_features_named(sources[0])))
        else:
            wanted = tuple(needs)
            for each in wanted:
                _known(each, FEATURE_INDEX, f"{place} needs")
        facts = {
            "feature_version": FEATURE_VERSION,
            "half_life_s": float(half_life_s),
            "name": name,
            "needs": wanted,
            "net_min_bps": float(net_min_bps),
            "params": own.defaults,
            "regimes": sorted(set(allowed)),
            "sources": [each.text for each in sources],
            "constants": [each.constants for each in sources],
            "taker": taker,
            "tape": tape,
        }
        return Family(
            name=name,
            function=function,
            value=_compile(function, tuple(FEATURE_INDEX[each] for each in wanted), place),
            params=own.defaults,
            half_life_s=float(half_life_s),
            tape=tape,
            taker=taker,
            regimes=allowed,
            needs=wanted,
            net_min_bps=float(net_min_bps),
            digest=hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest(),
        )

    return decorate


def _compile(function: Callable[..., None], needs: tuple[int, ...], place: str) -> Any:
    compiled = user_kernel(function)

    def guarded(features: Any, params: Any, out: Any) -> None:
        for i in needs:
            if features[i] != features[i]:
                out[OUT_HISTORY] = 1.0
                return
        compiled(features, params, out)

    def plain(features: Any, params: Any, out: Any) -> None:
        compiled(features, params, out)

    # numba cannot loop over an empty tuple, whose element has no type.
    chosen = guarded if needs else plain
    if not JIT_ENABLED:
        return chosen
    try:
        return function_value(chosen)
    except Exception as error:
        raise ConfigError(f"{place} does not compile: {_first_reason(error)}", GUIDE) from error


def _first_reason(error: Exception) -> str:
    """The sentence of numba's report that says what is wrong, and its line of the source."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines()]
    skip = ("Failed in nopython", "During:", "<source missing", "This error", "File ", ">>>", "[")
    reasons = [line for line in lines if line and not line.startswith(skip)]
    marked = [line for line in lines if line.startswith("File ")]
    reason = reasons[0] if reasons else type(error).__name__
    where = f" ({marked[-1].rstrip(':')})" if marked else ""
    return f"{reason.rstrip('.')}{where}."


# --- what may stand in a family --------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """One function that a family is made of."""

    text: str
    tree: ast.FunctionDef
    names: dict[str, Any]  # what its free names stand for
    constants: dict[str, str]


def _python_function(thing: Any) -> FunctionType | None:
    """The Python function behind a function or a compiled one, None for anything else."""
    inner = getattr(thing, "py_func", thing)
    return inner if isinstance(inner, FunctionType) else None


def _ours(function: FunctionType) -> bool:
    """Does it belong to the engine, whose sources the run's manifest names by their own digest?"""
    return (function.__module__ or "").split(".")[0] in ("engine", "numba")


def _reachable(function: Callable[..., Any], place: str) -> Iterator[_Source]:
    """The function and every function outside the engine that it calls, checked, callers first."""
    start = _python_function(function)
    if start is None:
        raise ConfigError(f"{place} is not a function.", GUIDE)
    if len(inspect.signature(start).parameters) != 3:
        raise ConfigError(f"{place} does not take three arguments.", "Write it as idea(f, p, out).")
    queue = [start]
    seen = {start}
    while queue:
        each = queue.pop(0)
        source = _read(each, place)
        _check(source, place, each)
        yield source
        for used in source.names.values():
            options = getattr(used, "targetoptions", {})
            if options.get("fastmath") or options.get("parallel"):
                raise ConfigError(
                    f"{place}: {used.__name__} is compiled with fastmath or parallel, "
                    "which give other bits on another machine.",
                    "Decorate it with `helper` of engine.plugins.",
                )
            inner = _python_function(used)
            if inner is not None and not _ours(inner) and inner not in seen:
                seen.add(inner)
                queue.append(inner)


def _read(function: FunctionType, place: str) -> _Source:
    try:
        text = textwrap.dedent(inspect.getsource(function))
        tree = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))
    except (OSError, TypeError, SyntaxError, StopIteration):
        raise ConfigError(
            f"{place}: the source of {function.__name__} cannot be read.",
            "Define it with `def` in a file or in a notebook's cell.",
        ) from None
    loaded = {
        node.id
        for statement in tree.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name)
    }
    variables = inspect.getclosurevars(function)
    known = {**variables.globals, **variables.nonlocals}
    names = {name: known[name] for name in sorted(loaded & known.keys())}
    return _Source(text, tree, names, {name: _constant(value) for name, value in names.items()})


def _constant(value: Any) -> str:
    """A text that changes when a captured constant does."""
    if isinstance(value, Names):
        return json.dumps(value.__dict__["positions_"], sort_keys=True)
    if isinstance(value, np.ndarray):
        return f"{value.dtype.str} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, bool | int | float | str | bytes | tuple | frozenset | type(None)):
        return repr(value)
    if isinstance(value, ModuleType):
        return f"module {value.__name__}"
    if isinstance(value, np.generic):
        return f"{value.dtype.str} {value.item()!r}"
    inner = _python_function(value)
    if inner is not None:
        # A user's own function is in the digest by its text, wherever its file lies.
        return f"function {inner.__module__ if _ours(inner) else ''}.{inner.__qualname__}"
    return f"{type(value).__name__} {getattr(value, '__name__', '')}"


def _check(source: _Source, place: str, function: FunctionType) -> None:
    """Refuse what cannot repeat or cannot be compiled, with the line and what to do instead."""
    file = Path(function.__code__.co_filename).name
    first = function.__code__.co_firstlineno

    def refuse(node: ast.AST, message: str) -> None:
        line = first + getattr(node, "lineno", 1) - 1
        raise ConfigError(f"{place} ({file}:{line}) uses {message}.", GUIDE)

    for statement in source.tree.body:
        for node in ast.walk(statement):
            message = _FORBIDDEN_STATEMENTS.get(type(node))
            if message:
                refuse(node, message)
            if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Pow):
                refuse(node, "**: it has other bits on another machine; multiply instead")
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Name) and called.id in ("pow", "print", "input", "open"):
                refuse(node, f"{called.id}(): a family only computes, and without powers")
            if isinstance(node, ast.Attribute | ast.Name):
                reason = _forbidden_name(node, source.names)
                if reason:
                    refuse(node, reason)


def _forbidden_name(node: ast.Attribute | ast.Name, names: Mapping[str, Any]) -> str:
    if isinstance(node, ast.Name):
        used = names.get(node.id)
        module, attribute = getattr(used, "__module__", None), getattr(used, "__name__", node.id)
        if used is None or isinstance(used, ModuleType) or not callable(used):
            return ""
        if isinstance(used, np.ufunc):
            module = "numpy"
    else:
        if not isinstance(node.value, ast.Name):
            return ""
        owner = names.get(node.value.id)
        if isinstance(owner, Names):
            try:
                getattr(owner, node.attr)
            except AttributeError as error:
                return f"{node.value.id}.{node.attr}: {str(error).rstrip('.')}"
            return ""
        if not isinstance(owner, ModuleType):
            return ""
        module, attribute = owner.__name__, node.attr
    top = str(module or "").split(".")[0]
    if top in ("time", "datetime", "random", "secrets", "os", "uuid"):
        return f"{top}.{attribute}: a family is a function of its features, without clock or chance"
    if top in ("math", "cmath") and attribute not in _EXACT_MATH:
        return (
            f"{top}.{attribute}: it has other bits on another machine; "
            "exp, log, sqrt, tanh and normal_cdf of engine.numerics are the same everywhere"
        )
    if top == "numpy" and attribute not in _EXACT_NUMPY:
        return (
            f"numpy.{attribute}: only {', '.join(sorted(_EXACT_NUMPY))} are the same everywhere; "
            "write the loop, or use engine.numerics"
        )
    return ""


def _features_named(source: _Source) -> set[str]:
    """Features that the function reads as F.name, without those that are always set."""
    named = {
        node.attr
        for statement in source.tree.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and source.names.get(node.value.id) is F
    }
    return named - {"horizon", "inventory"}


# --- from a profile to the core ----------------------------------------------------------------------


def load_plugins(names: Sequence[str]) -> tuple[Family, ...]:
    """The families that a profile names, as `module:object` or `path/file.py:object`.

    raises ConfigError naming the entry, and what was found instead
    """
    families = tuple(_load(name) for name in names)
    _check_set(families)
    return families


def _load(entry: str) -> Family:
    module_name, separator, attribute = entry.rpartition(":")
    if not separator or not module_name or not attribute:
        raise ConfigError(
            f"plugins: {entry!r} is not of the form module:name.",
            'Write it as in "my_families.py:my_idea" or "my_package.families:my_idea".',
        )
    if module_name.endswith(".py"):
        module = _load_file(Path(module_name), entry)
    else:
        try:
            module = importlib.import_module(module_name)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"plugins: {entry!r} cannot be imported: {type(error).__name__}: {error}.",
                "Check the name, or give the path of the file instead.",
            ) from error
    found = getattr(module, attribute, None)
    if isinstance(found, Family):
        return found
    families = sorted(name for name, each in vars(module).items() if isinstance(each, Family))
    what = f"{attribute!r} is not a family" if found is not None else f"has no {attribute!r}"
    raise ConfigError(
        f"plugins: {entry!r}: {what}. Families in it: {', '.join(families) or 'none'}.",
        "Decorate the function with `family` of engine.plugins.",
    )


def _load_file(path: Path, entry: str) -> ModuleType:
    if not path.is_file():
        raise ConfigError(
            f"plugins: {entry!r}: there is no file {path}.",
            "A path is taken from the folder in which the program was started.",
        )
    # One name per path, so that two files of the same name do not replace each other.
    tag = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    name = f"kapitaalbot_plugin_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{tag}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        # Not through the import system: its byte code files miss an edit within one second.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except ConfigError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(
            f"plugins: {path} cannot be loaded: {type(error).__name__}: {error}.",
            "Run it with Python to see the line.",
        ) from error
    return module


def _check_set(families: Sequence[Family]) -> None:
    if len(families) > N_PLUGINS:
        raise ConfigError(
            f"{len(families)} user families, the core has room for {N_PLUGINS}.",
            "Leave some out, or run them one set at a time.",
        )
    names = [each.name for each in families]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"user families share the name {twice[0]!r}.", "Rename one of them.")


def plugin_tuple(families: Sequence[Family]) -> tuple[Any, ...]:
    """The N_PLUGINS function values a core holds; free places see no opportunity, ever."""
    _check_set(families)
    values = tuple(each.value for each in families)
    return values + (no_family,) * (N_PLUGINS - len(values))
