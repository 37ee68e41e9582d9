"""A person's own family: the guide's example works, and what cannot repeat is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.config import make_params, make_profile
from engine.core.families.contract import P_HALF_LIFE_S, P_MAKER_FEE_BPS, P_TAKER_FEE_BPS
from engine.core.params import default_params
from engine.core.regime import REGIME_NAMES, REGIME_RANGE, REGIME_TREND
from engine.core.routes import FAMILY_PLUGIN, N_PLUGINS, route_family
from engine.core.selection import select_routes
from engine.errors import ConfigError
from engine.jit import JIT_ENABLED
from engine.plugins import F, Family, family, load_plugins, parameters, plugin_tuple
from tests.support.scene import NOW, make_scene
from tests.support.short_market import short_market
from tests.support.worlds import EAGER, make_world, run_world

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "howto-add-a-family.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
# A market in which the guide's idea acts, net of the scene's taker exit.
SNAP = {"vwap_z": -2.0, "vwap_sd_bps": 40.0, "vol_bps_5m": 9.0, "flow_imbalance_1m": 0.3}

HEAD = """
import math, time, random
import numpy as np
from numba import njit
from engine.numerics import exp
from engine.plugins import F, OUT, family, helper, parameters
"""


def write(folder: Path, text: str, name: str = "my_families.py") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def idea(folder: Path, body: str, decorator: str = "", before: str = "") -> Family:
    """A family whose function has this body."""
    lines = [
        HEAD,
        textwrap.dedent(before),
        f'@family(name="idea", half_life_s=60.0, {decorator})',
        "def idea(f, p, out):",
        textwrap.indent(textwrap.dedent(body).strip(), "    "),
    ]
    path = folder / "idea.py"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (loaded,) = load_plugins([f"{path}:idea"])
    return loaded


def scene_with(families: tuple[Family, ...], changes: dict[str, float]) -> Any:
    core = make_scene(changes, tuple(each.value for each in families))
    for i, each in enumerate(families):
        each.fill(core.params[0], FAMILY_PLUGIN + i)
    return core


# --- the guide ------------------------------------------------------------------------------------


def test_the_example_is_about_fifteen_lines() -> None:
    lines = [line for line in EXAMPLES[0].splitlines() if line.strip()]

    assert len(lines) <= 15


def test_the_guides_example_is_evaluated_like_any_family(tmp_path: Path) -> None:
    path = write(tmp_path, EXAMPLES[0])
    families = load_plugins([f"{path}:vwap_snap"])
    core = scene_with(families, SNAP)

    found = select_routes(core, 0, NOW, 1_000)

    rows = core.work[0]["candidates"][: found.n_candidates]
    winner = rows[found.winner]
    assert FAMILY_PLUGIN == winner["family"]
    assert 2.0 * 40.0 * 0.4 == pytest.approx(winner["move_bps"])
    assert 80.0 == pytest.approx(winner["invalidation_bps"])
    assert 8 == np.count_nonzero(rows["family"] == FAMILY_PLUGIN)  # four horizons, join and improve


def test_the_guides_answer_is_what_it_prints(tmp_path: Path) -> None:
    path = write(tmp_path, EXAMPLES[0])
    (vwap_snap,) = load_plugins([f"{path}:vwap_snap"])
    call, shown = EXAMPLES[1].strip().splitlines()[-2:]

    answer = eval(call, {"vwap_snap": vwap_snap})

    printed = re.findall(r"'(\w+)': ([^,}]+)", shown)
    assert len(printed) >= 5
    for name, value in printed:
        assert eval(value) == answer[name]


def test_the_guides_profile_is_a_profile(tmp_path: Path) -> None:
    import tomllib

    path = write(tmp_path, EXAMPLES[0])
    profile = tomllib.loads(re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)[0])
    families = load_plugins([f"{path}:vwap_snap"])

    row = make_params(make_profile(profile), families)[0]

    assert [2.0, 0.4] == row["family_params"][FAMILY_PLUGIN][:2].tolist()
    assert 90.0 == row["family_half_life_s"][FAMILY_PLUGIN]
    assert [REGIME_RANGE, REGIME_TREND] == np.flatnonzero(
        row["regime_allows"][FAMILY_PLUGIN]
    ).tolist()


def test_the_guides_helper_compiles(tmp_path: Path) -> None:
    text = EXAMPLES[2] + textwrap.dedent("""
        from engine.plugins import F, OUT, family

        @family(name="idea", half_life_s=60.0)
        def idea(f, p, out):
            out[OUT.active] = 1.0
            out[OUT.confidence] = fading(60.0, 60.0)
            out[OUT.invalidation_bps] = 1.0
    """)
    (loaded,) = load_plugins([f"{write(tmp_path, text)}:idea"])

    assert 0.5 == pytest.approx(loaded.ask()["confidence"])


def test_the_guide_names_every_argument_and_answer() -> None:
    import inspect

    from engine.plugins import OUT

    for name in inspect.signature(family).parameters:
        assert f"| `{name}` |" in GUIDE, name
    for name in OUT.__dict__["positions_"]:
        assert f"`OUT.{name}`" in GUIDE or name == "history", name


@pytest.mark.skipif(not JIT_ENABLED, reason="ten minutes of market take minutes in plain Python")
def test_the_guides_example_is_replayed_by_the_whole_engine(tmp_path: Path) -> None:
    entry = f"{write(tmp_path, EXAMPLES[0])}:vwap_snap"
    families = load_plugins([entry])
    always = {"vwap_snap": {"regimes": ["RANGE", "TREND"], "params": {"z_min": -1000.0}}}
    instruments, events = short_market(600, symbols=1)
    profile = {**EAGER, "families": always, "plugins": [entry]}
    world = make_world(instruments, profile, plugins=families)

    _, tables = run_world(world, [events])

    candidates = tables["candidates"]
    mine = candidates[candidates["family"] == FAMILY_PLUGIN]
    assert len(mine) > 0
    priced = mine[mine["rank"] > 0]
    assert len(priced) > 0
    assert np.isfinite(priced["net_bps"]).all()
    assert np.isin(FAMILY_PLUGIN, route_family(tables["decisions"]["route"]))


# --- function values ------------------------------------------------------------------------------


@pytest.mark.skipif(not JIT_ENABLED, reason="about compiled values")
def test_another_family_compiles_no_kernel_again(tmp_path: Path) -> None:
    body = "out[OUT.active] = 1.0\nout[OUT.move_bps] = {}\nout[OUT.invalidation_bps] = 1.0"
    first, second = (idea(tmp_path, body.format(move)) for move in (1.0, 2.0))
    moves = []
    for each in (first, second):
        core = scene_with((each,), {})
        select_routes(core, 0, NOW, 100)
        rows = core.work[0]["candidates"]
        moves.append(rows[rows["family"] == FAMILY_PLUGIN]["move_bps"][0])

    assert [1.0, 2.0] == moves
    assert 1 == len(select_routes.signatures)


def test_eight_families_are_told_apart_by_their_place(tmp_path: Path) -> None:
    text = HEAD
    for i in range(N_PLUGINS):
        text += f"""
@family(name="idea_{i}", half_life_s=60.0)
def idea_{i}(f, p, out):
    out[OUT.active] = 1.0
    out[OUT.move_bps] = {i + 1}.0
    out[OUT.invalidation_bps] = 1.0
"""
    path = write(tmp_path, text)
    families = load_plugins([f"{path}:idea_{i}" for i in range(N_PLUGINS)])
    core = scene_with(families, {})

    select_routes(core, 0, NOW, 100)

    rows = core.work[0]["candidates"][: core.work[0]["n_candidates"]]
    moves = {int(r["family"]) - FAMILY_PLUGIN: float(r["move_bps"]) for r in rows}
    assert {i: i + 1.0 for i in range(N_PLUGINS)} == {k: v for k, v in moves.items() if k >= 0}


def test_the_compiled_and_the_plain_function_answer_the_same_bits(tmp_path: Path) -> None:
    path = write(tmp_path, EXAMPLES[0])
    script = (
        "import sys; from engine.plugins import load_plugins; "
        "a, = load_plugins([sys.argv[1]]); "
        "r = a.ask(vwap_z=-2.3, vwap_sd_bps=17.1, vol_bps_5m=9.3, flow_imbalance_1m=0.1); "
        "print(a.digest, [v.hex() if isinstance(v, float) else v for v in r.values()])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script, f"{path}:vwap_snap"],
            cwd=ROOT,
            env=os.environ | {"NUMBA_DISABLE_JIT": off},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for off in ("0", "1")
    }

    assert 1 == len(printed)


# --- the digest -----------------------------------------------------------------------------------

BASE = "out[OUT.active] = 1.0\nout[OUT.move_bps] = SCALE * double(f[F.vwap_z])"
BEFORE = "SCALE = 2.0\n@helper\ndef double(x):\n    return 2.0 * x\n"


def test_the_digest_is_of_what_is_written_not_of_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()

    one = idea(tmp_path, BASE, before=BEFORE)
    other = idea(tmp_path / "elsewhere", BASE, before=BEFORE)

    assert one.digest == other.digest
    assert 64 == len(one.digest)
    assert one.digest == one.describe()["digest"]


@pytest.mark.parametrize(
    ("body", "decorator", "before"),
    [
        (BASE.replace("1.0", "1.00"), "", BEFORE),
        (BASE, "tape=True,", BEFORE),
        (BASE, "needs=(),", BEFORE),
        (BASE, "net_min_bps=1.0,", BEFORE),
        (BASE, "params=parameters(a=1.0),", BEFORE),
        (BASE, "", BEFORE.replace("SCALE = 2.0", "SCALE = 2.5")),
        (BASE, "", BEFORE.replace("2.0 * x", "3.0 * x")),
    ],
)
def test_every_change_that_could_matter_moves_the_digest(
    tmp_path: Path, body: str, decorator: str, before: str
) -> None:
    original = idea(tmp_path, BASE, before=BEFORE).digest

    assert original != idea(tmp_path, body, decorator, before).digest


# --- names and needs ------------------------------------------------------------------------------


def test_needs_are_the_features_it_names(tmp_path: Path) -> None:
    body = "out[OUT.active] = f[F.vwap_z] + f[F.horizon] + f[F.inventory] + f[F.spread_bps]"

    assert ("spread_bps", "vwap_z") == idea(tmp_path, body).needs
    assert ("vwap_z",) == idea(tmp_path, body, 'needs=("vwap_z",),').needs
    assert () == idea(tmp_path, body, "needs=(),").needs


def test_an_unknown_need_stops_the_question_not_the_run(tmp_path: Path) -> None:
    loaded = idea(tmp_path, "out[OUT.active] = 1.0\nout[OUT.move_bps] = f[F.vwap_z]")

    answer = loaded.ask(spread_bps=1.0)

    assert ("NOT_ENOUGH_HISTORY", 0.0) == (answer["code"], answer["active"])


def test_parameters_stand_in_their_order_beside_those_of_the_core() -> None:
    P = parameters(b=2.0, a=1)

    assert (0, 1) == (P.b, P.a)
    assert {"b": 2.0, "a": 1.0} == P.defaults
    assert (P_MAKER_FEE_BPS, P_TAKER_FEE_BPS, P_HALF_LIFE_S) == (
        *(P.maker_fee_bps, P.taker_fee_bps, P.half_life_s),
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"half_life_s": 1.0}, "set by the core"),
        ({"a": float("nan")}, "finite"),
        ({"a": True}, "number"),
        ({"a": "1"}, "number"),
        ({f"p{i}": 0.0 for i in range(14)}, "may have 13"),
    ],
)
def test_a_wrong_parameter_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parameters(**given)


def test_a_misspelt_feature_is_answered_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match="spread_bps"):
        _ = F.spread_bsp
    with pytest.raises(AttributeError, match="cannot be set"):
        F.spread_bps = 3


def test_filling_writes_all_that_the_core_knows_of_it(tmp_path: Path) -> None:
    loaded = idea(
        tmp_path,
        "out[OUT.active] = 0.0",
        'params=parameters(a=1.5, b=2.5), tape=True, taker=True, regimes=("trend",), '
        "net_min_bps=0.7,",
    )
    row = default_params()[0]
    loaded.fill(row, FAMILY_PLUGIN + 2)

    code = FAMILY_PLUGIN + 2
    assert [1.5, 2.5, 0.0] == row["family_params"][code][:3].tolist()
    assert (60.0, 0.7) == (row["family_half_life_s"][code], row["family_net_min_bps"][code])
    assert (1, 1, 1) == tuple(row[f"family_{n}"][code] for n in ("enabled", "tape", "taker"))
    allowed = {REGIME_NAMES[i] for i in np.flatnonzero(row["regime_allows"][code])}
    assert {"TREND"} == allowed


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("out[OUT.active] = time.time()", "idea.py:.*time.time.*without clock"),
        ("out[OUT.active] = random.random()", "without clock or chance"),
        ("out[OUT.active] = np.random.rand()", "numpy"),
        ("out[OUT.move_bps] = math.exp(f[F.vwap_z])", "engine.numerics"),
        ("out[OUT.move_bps] = np.exp(f[F.vwap_z])", "same everywhere"),
        ("out[OUT.move_bps] = np.sum(f)", "same everywhere"),
        ("out[OUT.move_bps] = f[F.vwap_z] ** 2", "multiply instead"),
        ("out[OUT.move_bps] = pow(f[F.vwap_z], 2)", "without powers"),
        ("print(f[F.vwap_z])", "only computes"),
        ("raise ValueError", "cannot stop a run"),
        ("assert f[F.vwap_z] > 0", "cannot stop a run"),
        ("try:\n    out[0] = 1.0\nexcept Exception:\n    pass", "test the value"),
        ("global STATE\nSTATE = 1", "keeps no state"),
        ("import os", "top of the file"),
        ("out[OUT.move_bps] = f[F.vwap_zz]", "Nearest known: vwap_z"),
        ("out[OUT.moved] = 1.0", "Nearest known: move_bps"),
    ],
)
def test_what_cannot_repeat_or_run_is_refused_with_its_line(
    tmp_path: Path, body: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        idea(tmp_path, body)


@pytest.mark.parametrize(
    "body",
    [
        "out[OUT.move_bps] = math.sqrt(abs(f[F.vwap_z])) + math.pi",
        "out[OUT.move_bps] = np.sqrt(abs(f[F.vwap_z])) + np.pi",
        "out[OUT.move_bps] = exp(min(f[F.vwap_z], 1.0))",
        "for i in range(3):\n    out[OUT.move_bps] += f[i]",
    ],
)
def test_exact_arithmetic_passes(tmp_path: Path, body: str) -> None:
    assert "idea" == idea(tmp_path, body).name


def test_what_a_helper_does_is_looked_at_too(tmp_path: Path) -> None:
    before = "@helper\ndef inner(x):\n    return math.log(x)\n"

    with pytest.raises(ConfigError, match=r"math\.log"):
        idea(tmp_path, "out[OUT.move_bps] = inner(2.0)", before=before)


@pytest.mark.skipif(not JIT_ENABLED, reason="flags of compiled helpers")
def test_a_helper_compiled_with_fastmath_is_refused(tmp_path: Path) -> None:
    before = "@njit(fastmath=True)\ndef inner(x):\n    return x\n"

    with pytest.raises(ConfigError, match="fastmath"):
        idea(tmp_path, "out[OUT.move_bps] = inner(2.0)", before=before)


@pytest.mark.skipif(not JIT_ENABLED, reason="plain Python runs what numba cannot compile")
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("out[OUT.move_bps] = missing_name", "missing_name"),
        ("out[OUT.move_bps] = 'text'", "does not compile"),
        ("out[OUT.move_bps] = {1: 2.0}[f]", "does not compile"),
    ],
)
def test_what_does_not_compile_is_one_sentence(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        idea(tmp_path, body)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("decorator", "message"),
    [
        ('regimes=("UNKNOWN",),', "UNKNOWN"),
        ('regimes=("RANGY",),', "Nearest: RANGE"),
        ('needs=("vwapz",),', "Nearest: vwap_z"),
        ("net_min_bps=float('nan'),", "finite"),
    ],
)
def test_a_wrong_argument_is_named_with_the_nearest(
    tmp_path: Path, decorator: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        idea(tmp_path, "out[OUT.active] = 0.0", decorator)


@pytest.mark.parametrize("name", ["momentum", "Upper", "9lives", "", "a b"])
def test_a_name_that_is_taken_or_odd_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a family"):
        family(name=name, half_life_s=1.0)(lambda f, p, out: None)


def test_a_function_without_readable_source_is_refused() -> None:
    space: dict[str, Any] = {}
    exec("def idea(f, p, out): out[0] = 1.0", space)

    with pytest.raises(ConfigError, match="source of idea cannot be read"):
        family(name="idea", half_life_s=1.0)(space["idea"])


def test_a_function_of_two_arguments_is_refused() -> None:
    def idea(f: Any, p: Any) -> None: ...

    with pytest.raises(ConfigError, match="three arguments"):
        family(name="idea", half_life_s=1.0)(idea)  # type: ignore[arg-type]


# --- loading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("my_families.py", "not of the form"),
        (":idea", "not of the form"),
        ("absent.py:idea", "there is no file"),
        ("absent_module_xyz:idea", "cannot be imported"),
        ("{folder}/my_families.py:idae", "Families in it: idea"),
        ("{folder}/my_families.py:plain", "'plain' is not a family"),
        ("{folder}/broken.py:idea", "ZeroDivisionError"),
    ],
)
def test_an_entry_that_leads_nowhere_says_where_it_led(
    tmp_path: Path, entry: str, message: str
) -> None:
    idea(tmp_path, "out[OUT.active] = 0.0")
    (tmp_path / "idea.py").rename(tmp_path / "my_families.py")
    with (tmp_path / "my_families.py").open("a", encoding="utf-8") as file:
        file.write("\ndef plain(f, p, out): ...\n")
    write(tmp_path, "1 / 0", "broken.py")

    with pytest.raises(ConfigError, match=message):
        load_plugins([entry.format(folder=tmp_path)])


def test_too_many_and_twins_are_refused(tmp_path: Path) -> None:
    loaded = idea(tmp_path, "out[OUT.active] = 0.0")

    with pytest.raises(ConfigError, match="share the name"):
        plugin_tuple((loaded, loaded))
    with pytest.raises(ConfigError, match="room for 8"):
        plugin_tuple((loaded,) * 9)
    assert N_PLUGINS == len(plugin_tuple((loaded,))) == len(plugin_tuple(()))
