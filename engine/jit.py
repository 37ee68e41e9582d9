"""How is a kernel compiled? The one place that sets numba's flags and its cache folder.

numba's file cache looks at the compiled function's own file only: an edit in a *called* file of
another module keeps serving the old machine code. So the cache folder is named after a digest of
every source that kernels are made of, of the versions, and of the flags that change the code.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import llvmlite
import numba
import numpy as np
from numba import config
from numba.core import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.errors import NumbaExperimentalFeatureWarning

ENGINE: Final = Path(__file__).resolve().parent

KERNEL_SOURCES: Final = (
    "jit.py",
    "stage.py",
    "events.py",
    "units.py",
    "numerics.py",
    "book.py",
    "checksum.py",
    "feedbook.py",
    "core",
    "venue",
    "flow",
    "research/synthetic",
)


def _kernel_files() -> list[Path]:
    files: list[Path] = []
    for name in KERNEL_SOURCES:
        path = ENGINE / name
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.exists() else []
    return files


def kernel_digest() -> str:
    """sha256 over all kernel sources, library versions, CPU and flags; hex, 64 characters."""
    digest = hashlib.sha256()
    for path in _kernel_files():
        digest.update(path.relative_to(ENGINE).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    environment = (
        platform.python_version(),
        platform.machine(),
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        str(config.CPU_NAME),
        str(config.CPU_FEATURES),
        str(config.OPT),
        str(config.BOUNDSCHECK),
        str(config.LOOP_VECTORIZE),
        str(config.SLP_VECTORIZE),
    )
    digest.update("\0".join(environment).encode())
    return digest.hexdigest()


def cache_root() -> Path:
    """Folder of all our caches: KAPITAALBOT_CACHE_DIR, else the user's cache folder."""
    if given := os.environ.get("KAPITAALBOT_CACHE_DIR"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "kapitaalbot"


JIT_ENABLED: Final = not config.DISABLE_JIT
KERNEL_DIGEST: Final = kernel_digest()
CACHE_FOLDER: Final = cache_root() / f"numba-{KERNEL_DIGEST[:16]}"
config.CACHE_DIR = str(CACHE_FOLDER)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` the one way that keeps its bits: no fastmath, no parallel, cached.

    Division by zero follows IEEE (error_model numpy), as numpy scalars do without the JIT;
    kernels test their divisors all the same.
    """
    return _compiled(function, inline=False)


def inner_kernel(function: Callable[..., Any]) -> Any:
    """Compile as `kernel`, and put the body wherever it is called.

    For the body of a loop that runs once per event and is called from one or two places; anywhere
    else it multiplies the time to compile.
    """
    return _compiled(function, inline=True)


def _compiled(function: Callable[..., Any], inline: bool) -> Any:
    flags = {
        "fastmath": False,
        "parallel": False,
        "error_model": "numpy",
        "nogil": True,
        "forceinline": inline,
        "no_cfunc_wrapper": True,  # nobody takes a kernel's address; a seventh of the compile time
    }
    compiled = numba.njit(cache=True, **flags)(function)
    if JIT_ENABLED:
        part = numba.njit(pipeline_class=_PartCompiler, no_cpython_wrapper=True, **flags)(function)
        part.add_overload = functools.partial(_keep_part, part)
        _call_through(compiled, part)
    return compiled


class _PartLibrary(JITCodeLibrary):
    """Code that only ever becomes part of a caller: neither optimised nor translated alone."""

    def finalize(self) -> None:
        self._raise_if_finalized()
        self._finalized = True


class _PartCompiler(Compiler):
    """Compile to what a caller can link in, and no further."""

    def __init__(
        self,
        typingctx: Any,
        targetctx: Any,
        library: Any,
        args: Any,
        return_type: Any,
        flags: Any,
        locals: Any,
    ) -> None:
        flags.no_compile = True
        part = _PartLibrary(targetctx.codegen(), "part")
        super().__init__(typingctx, targetctx, part, args, return_type, flags, locals)


def _keep_part(part: Any, result: Any) -> None:
    """Register a part under a key of its own, with all that it calls in turn."""
    key = object()
    libraries = [result.library, *result.library._linking_libraries]
    part.targetctx.insert_user_function(key, result.fndesc, libraries)
    part.overloads[tuple(result.signature.args)] = result._replace(entry_point=key)


def _call_through(compiled: Any, part: Any) -> None:
    """Give kernels that call `compiled` the part instead, and plain numbers for constants.

    numba compiles, optimises and translates every callee by itself before it links the result into
    the caller and does it all again: two thirds of the time, for code that nobody runs. It also
    compiles a callee anew for every constant integer it is called with, `emit(1, 0)` and
    `emit(2, 0)` separately.
    """

    def get_call_template(args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        plain = {name: _plain_number(given) for name, given in kws.items()}
        return part.get_call_template(tuple(map(_plain_number, args)), plain)

    compiled.get_call_template = get_call_template
    compiled.get_overload = part.get_overload


def _plain_number(given: Any) -> Any:
    constant = isinstance(given, types.IntegerLiteral | types.BooleanLiteral)
    return given.literal_type if constant else given


def entry_point(compiled: Any, *examples: Any) -> Callable[..., Any]:
    """The code of a kernel for arguments of the types of `examples`, without a look at each call's.

    numba finds the code for a call by the types of all its arguments, and to find the type of an
    array of nested records takes a millisecond. Whoever calls often asks once. The caller vouches
    for the types: nothing checks them. Without the JIT it is the plain function.
    """
    if not JIT_ENABLED:
        plain: Callable[..., Any] = compiled
        return plain
    found: Callable[..., Any] = compiled.compile(tuple(numba.typeof(each) for each in examples))
    return found


def view(function: Callable[..., Any]) -> Any:
    """Compile a function that only bundles records into a NamedTuple, inside its caller.

    numba cannot return records from a call of its own; anything larger must not be inlined so.
    """
    return numba.njit(inline="always")(function)


def user_kernel(function: Callable[..., Any]) -> Any:
    """Compile a function from outside the project: as `kernel`, but never from a file cache.

    The cache folder is named after our sources, not after a user's, so it could serve old code.
    """
    return numba.njit(cache=False, fastmath=False, parallel=False, error_model="numpy", nogil=True)(
        function
    )


# numba calls function values experimental on every compile that passes one. We rely on the part of
# them that tests/unit/engine/test_plugins.py holds: a tuple of one type, called by index.
warnings.filterwarnings(
    "ignore",
    message="First-class function type feature is experimental",
    category=NumbaExperimentalFeatureWarning,
)
_THREE_ARRAYS: Final = numba.void(numba.float64[::1], numba.float64[::1], numba.float64[::1])


def function_value(function: Callable[..., Any], cache: bool = False) -> Any:
    """Compile a function of three float64[::1] that returns nothing to a value kernels can be given.

    The value's type does not depend on the function, so a kernel that is given another one is not
    compiled again. Without the JIT it is the plain function.
    """
    if not JIT_ENABLED:
        return function
    return numba.cfunc(_THREE_ARRAYS, cache=cache, fastmath=False, error_model="numpy")(function)
