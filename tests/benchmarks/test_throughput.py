"""The measuring is right; what it measures is not tested."""

import pytest

from benchmarks import throughput
from patchvae_tf import PatchVAE


def test_multiply_adds_are_those_of_the_tables():
    # At 32 × 32, by hand: a convolution costs (places in its output map) × (its weights).
    backbone = 16 * 16 * 9_408  # 7 × 7, 3 -> 64
    backbone += 8 * 8 * 4 * 36_864  # four 3 × 3, 64 -> 64
    backbone += 4 * 4 * (73_728 + 3 * 147_456 + 8_192)  # 64 -> 128, three of 128, the shortcut
    heads = 4 * 4 * 1_152 * (16 + 96 + 96)
    # A transposed convolution costs (places in its input map) × (its weights).
    decoder = 16 * 96 * 256 + 16 * 256 * 128 * 16 + 64 * 128 * 64 * 16 + 256 * 64 * 3 * 16
    whole, features = throughput.multiply_adds(PatchVAE(), 32)
    assert features == backbone
    assert whole == backbone + heads + decoder
    assert whole == pytest.approx(42e6, rel=0.05)


def test_the_table_shows_what_was_measured():
    row = throughput.Measured(
        image_size=32,
        dtype="float32",
        batch_size=128,
        matrix_gflops=80.4,
        step=200.0,
        input=5000.0,
        pipeline=196.0,
        features=1500.0,
        step_share=0.63,
        features_share=0.55,
    )
    last = throughput.table([row]).splitlines()[-1]
    assert last == "| 32 | float32 | 80 | 200 (63%) | 5000 (25.0 x) | 196 (98.0%) | 1500 (55%) |"
