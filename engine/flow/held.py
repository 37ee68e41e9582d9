"""How does Python call a kernel on a core without showing the whole core each time?

A core is a tuple of arrays, and of functions of families. numba takes such a tuple apart at every
call, and looks at each function in Python: 50 us, more than all that a session does with a frame.
`hold` takes it apart once and keeps it on numba's side; what is handed over is one pointer. The
arrays stay the same arrays. Without the JIT it is a plain object.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from engine.flow.follow import follow
from engine.jit import JIT_ENABLED, kernel

if JIT_ENABLED:
    from numba.core import types
    from numba.experimental import structref

    @structref.register
    class HeldType(types.StructRef):
        """The type of `Held`."""

        def preprocess_fields(self, fields: Any) -> Any:
            return tuple((name, types.unliteral(each)) for name, each in fields)

    class Held(structref.StructRefProxy):  # type: ignore[misc]
        """A core that numba keeps."""

        def __new__(cls, core: Any) -> Any:
            return hold(core)

    # Not define_proxy: it would compile a maker in every process, this one comes from the cache.
    structref.define_boxing(HeldType, Held)
    structref.define_constructor(Held, HeldType, ["core"])
else:

    def Held(core: Any) -> Any:  # type: ignore[no-redef]
        return SimpleNamespace(core=core)


@kernel
def hold(core):
    """Keep `core` for many calls."""
    return Held(core)


@kernel
def follow_held(held, events, first):
    """As `follow`, on a core that is held."""
    return follow(held.core, events, first)
