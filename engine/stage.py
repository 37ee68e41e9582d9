"""How do large kernels call one another without being compiled into one another?

numba links a callee's code into every caller and optimises it again there, and again in the
caller's caller: a core of some hundred kernels then takes minutes to compile. A *stage* is a kernel
that is compiled once and called through its address. The addresses stand in an int64 array that
the state carries (`calls`, a field of the first argument), so nothing is global, cached machine
code holds no address of an older process, and a call costs one load more.

`link(table)` compiles or loads every stage of the modules imported so far and fills the table;
whoever makes a state calls it. Without the JIT a stage is the plain function.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import make_intrinsic_template
from numba.extending import intrinsic, typeof_impl

from engine.jit import JIT_ENABLED, kernel

N_STAGES: Final = 64

_NONE: Final = types.none
_INT: Final = types.int64
_CHECKED: Final = types.Tuple((_INT, _INT, types.float64, types.float64))

# What each stage returns: declared, so that a caller can be compiled without its callees, in any
# order and in several processes. The place in the table follows the order here and is fixed, so that
# cached code of one process fits the table of another.
STAGE_RESULTS: Final[dict[str, types.Type]] = {
    "step_one": _NONE,
    "run_core": _INT,
    "on_other": _NONE,
    "evaluate": _NONE,
    "refresh_market": _NONE,
    "sample_market": _NONE,
    "close_books": _NONE,
    "judge_symbol": _NONE,
    "enter": _INT,
    "guard_position": _NONE,
    "apply_order_event": _NONE,
    "manage_entries": _INT,
    "emit": _INT,
    "refresh_capital": _NONE,
    "set_order_state": _NONE,
    "run_checks": _CHECKED,
    "run_venue": _INT,
    "command_to_venue": _NONE,
    "timer_to_venue": _NONE,
    "settle_shadow": _NONE,
    "close_shadow": _INT,
    "run_caps": _CHECKED,
    "widen_market": _NONE,
    "take_health": _NONE,
    "take_operator": _NONE,
    "take_balance": _NONE,
    "settle_account": _NONE,
    "drain_heap": _NONE,
    "queue_losers": _NONE,
    "update_universe": _NONE,
    "plain_features": _NONE,
    "wide_features": _NONE,
    "price_routes": _NONE,
    "judge_adaptively": _NONE,
    "choose_by_timing": _NONE,
    "settle_routes": _NONE,
    "track_mid": _NONE,
    "weigh_exit": _NONE,
    "watch_coins": _NONE,
    "note_inventory": _NONE,
}
STAGE_NAMES: Final = tuple(STAGE_RESULTS)

# Parameters of these names are not int64; `define_kind` says what they are.
NAMED: Final = (
    "core",
    "desk",
    "venue",
    "link",
    "calls",
    "event",
    "events",
    "evaluation",
)
_KINDS: dict[str, types.Type] = {}
_STAGES: dict[str, Stage] = {}


def define_kind(name: str, example: Any) -> None:
    """Say what a parameter of this name holds. example : a value, or a record's dtype."""
    assert name in NAMED
    if JIT_ENABLED:
        record = isinstance(example, np.dtype)
        _KINDS[name] = numba.from_dtype(example) if record else numba.typeof(example)


class Stage:
    """A kernel with an address of its own. Call it as a function, from Python or from kernels."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = function.__name__
        self.index = STAGE_NAMES.index(self.name)
        self.parameters = tuple(inspect.signature(function).parameters)
        self.function = function
        self.compiled = kernel(function)
        call = _make_call(self)
        # Typed here and not by numba's registry, which may not have been refreshed yet.
        self.type = types.Function(make_intrinsic_template(call, call._defn, call._name, kwargs={}))
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__wrapped__ = function
        self.__module__ = function.__module__

    def __call__(self, *args: Any) -> Any:
        return self.compiled(*args)

    def argument_types(self) -> tuple[types.Type, ...]:
        return tuple(_KINDS.get(name, types.int64) for name in self.parameters)

    def ready(self) -> bool:
        """Are all its parameters defined, so that it can be compiled?"""
        return all(name in _KINDS for name in self.parameters if name in NAMED)

    def overload(self) -> Any:
        """The compiled code for the declared argument types; compiles or loads it if need be."""
        arguments = self.argument_types()
        self.compiled.compile(arguments)
        found = self.compiled.overloads[arguments]
        declared, returned = STAGE_RESULTS[self.name], found.signature.return_type
        if returned != declared:
            raise TypeError(
                f"stage {self.name} returns {returned}, STAGE_RESULTS says {declared}: "
                "its callers would read something else. Correct engine/stage.py."
            )
        return found

    def address(self) -> int:
        """Where the machine code lies in this process."""
        code = self.overload()
        return int(code.library.get_pointer_to_function(code.fndesc.llvm_func_name))


def stage(function: Callable[..., Any]) -> Any:
    """Make a kernel a stage.

    Its parameters' names say their types: those of NAMED are what `define_kind` said, any other is
    an int64. The first one is the table `calls` that `link` filled, or a NamedTuple that has it.
    """
    if not JIT_ENABLED:
        return function
    made = Stage(function)
    _STAGES[made.name] = made
    return made


def link(table: np.ndarray) -> None:
    """Fill `table` (int64[N_STAGES]) with the address of every stage that is ready by now."""
    if JIT_ENABLED:
        for each in sorted(_STAGES.values(), key=lambda found: found.index):
            if each.ready():
                table[each.index] = each.address()


def stages() -> tuple[str, ...]:
    """Names of the stages defined so far, in table order."""
    return tuple(name for name in STAGE_NAMES if name in _STAGES)


def compile_stage(name: str) -> None:
    """Compile one stage into the file cache; for warming the cache in several processes."""
    _STAGES[name].overload()


def _make_call(made: Stage) -> Any:
    """The intrinsic by which kernels call the stage: load its address, call it."""

    def typing(typing_context: Any, given: tuple[Any, ...]) -> Any:
        arguments = made.argument_types()
        result = STAGE_RESULTS[made.name]
        owner = arguments[0]
        i_table = -1 if isinstance(owner, types.Array) else owner.fields.index("calls")
        table_type = owner if i_table < 0 else owner.types[i_table]

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            table = values[0] if i_table < 0 else builder.extract_value(values[0], i_table)
            data = context.make_array(table_type)(context, builder, table).data
            at = cgutils.gep_inbounds(builder, data, made.index)
            convention = context.call_conv
            function_type = convention.get_function_type(signature.return_type, signature.args)
            pointer = builder.inttoptr(builder.load(at), function_type.as_pointer())
            status, returned = convention.call_function(
                builder, pointer, signature.return_type, signature.args, values
            )
            with cgutils.if_unlikely(builder, status.is_error):
                convention.return_status_propagate(builder, status)
            return returned

        return result(*arguments), generate

    # An intrinsic takes its arguments by name; they are the stage's own.
    names = ", ".join(made.parameters)
    space: dict[str, Any] = {"typing": typing}
    exec(
        f"def call(typing_context, {names}):\n    return typing(typing_context, ({names},))\n",
        space,
    )
    space["call"].__name__ = f"call_{made.name}"
    return intrinsic(space["call"])


@typeof_impl.register(Stage)
def _typeof_stage(value: Stage, context: Any) -> types.Type:
    return value.type
