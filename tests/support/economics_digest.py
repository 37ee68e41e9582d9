"""Hash what selection decides in many made-up markets, to compare environments bit by bit."""

from __future__ import annotations

import hashlib

import numpy as np

from engine.core.columns import FEATURES
from engine.core.records import T_BLOCKERS, T_CANDIDATES
from engine.core.routes import FAMILY_PLUGIN
from engine.core.selection import record_candidates, select_routes
from engine.numerics import normal, uniform
from engine.plugins import OUT, F, family
from tests.support.scene import CALM, NOW, make_scene, set_book

N_SCENES = 60


@family(name="probe", half_life_s=40.0, taker=True, regimes=("RANGE", "TREND"))
def probe(f, p, out):  # type: ignore[no-untyped-def]
    """A user's family, so that its way into the core is hashed as well."""
    if f[F.ofi] < 0.0:
        return
    out[OUT.active] = 1.0
    out[OUT.move_bps] = 3.0 * f[F.ofi] / (0.1 + f[F.spread_bps])
    out[OUT.sd_bps] = f[F.vol_bps_5m]
    out[OUT.confidence] = 0.55
    out[OUT.invalidation_bps] = 7.0


def economics_digest(n_scenes: int = N_SCENES) -> str:
    """sha256 over every candidate, kept row and blocker count of `n_scenes` markets."""
    digest = hashlib.sha256()
    core = make_scene(plugins=(probe.value,), records_candidates_sample=3, seed=11)
    probe.fill(core.params[0], FAMILY_PLUGIN)
    symbol = core.symbols[0]
    names = [each.name for each in FEATURES if each.name in CALM]
    draw = 0
    for scene in range(n_scenes):
        for name in names:
            draw += 1
            value = CALM[name] * (1.0 + 1.5 * normal(1, 1, draw))
            if not name.startswith(("drift", "return", "mean", "ofi", "flow", "micro")):
                value = abs(value)
            # one in fifty is unknown
            symbol["features"][getattr(F, name)] = np.nan if uniform(1, 2, draw) < 0.02 else value
        bid = 5_000 + scene * 37
        set_book(
            symbol,
            [(bid - k * (1 + scene % 3), 100 + 13 * k) for k in range(8)],
            [(bid + 1 + scene % 5 + k, 90 + 29 * k) for k in range(8)],
        )
        symbol["regime"] = scene % 4
        found = select_routes(core, 0, NOW + scene, 50 + 40 * scene)
        record_candidates(core, 0, NOW + scene)
        digest.update(repr([float(each).hex() for each in found]).encode())
        digest.update(core.work[0]["candidates"][: found.n_candidates].tobytes())
    for table, i_table in (("candidates", T_CANDIDATES), ("blockers", T_BLOCKERS)):
        digest.update(core.rings[0][table][: core.glob[0]["n_rows"][i_table]].tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    print(economics_digest())
