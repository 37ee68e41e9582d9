"""Whatever is asked for, a naive subscriber finds no fault in what comes."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.jit import JIT_ENABLED
from engine.research.synthetic import DEFAULT_SYMBOLS, GeneratorConfig, generate
from tests.naive.feed import Subscriber

configs = st.builds(
    GeneratorConfig,
    seed=st.integers(-(1 << 63), (1 << 63) - 1),
    duration_s=st.floats(0.5, 2.0 if JIT_ENABLED else 1.0),
    symbols=st.sampled_from(
        [
            DEFAULT_SYMBOLS,
            DEFAULT_SYMBOLS[1:2],
            DEFAULT_SYMBOLS[2:] + DEFAULT_SYMBOLS[:1],
            tuple(dataclasses.replace(each, n_orders=20) for each in DEFAULT_SYMBOLS),
        ]
    ),
    depth=st.sampled_from([10, 25, 100]),
    level3_depth=st.sampled_from([10, 100]),
    intensity=st.floats(0.1, 60.0 if JIT_ENABLED else 5.0),
    jumps_per_hour=st.sampled_from([0.0, 2.0, 20_000.0]),
    latency_ms=st.floats(0.01, 500.0),
    warmup_s=st.sampled_from([0.0, 0.05, 2.0]),
)


@settings(deadline=None, max_examples=12 if JIT_ENABLED else 5)
@given(configs)
def test_a_subscriber_finds_no_fault(config):
    rows = np.concatenate(list(generate(config)))
    subscriber = Subscriber(config.instruments, config.depth, config.level3_depth)
    subscriber.feed(rows)
    assert subscriber.checked["book"] >= len(config.symbols)
    assert np.array_equal(rows["seq"], np.arange(len(rows)))


@settings(deadline=None, max_examples=15 if JIT_ENABLED else 3)
@given(config=configs, batch_rows=st.integers(1, 5_000))
def test_the_size_of_the_batches_changes_nothing(config, batch_rows):
    whole = np.concatenate(list(generate(config)))
    batches = list(generate(config, batch_rows))
    assert all(len(batch) == batch_rows for batch in batches[:-1])
    assert whole.tobytes() == np.concatenate(batches).tobytes()
