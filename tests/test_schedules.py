import math

import pytest

from patchvae_tf.schedules import annealed_temperature

ORIGINAL = {"initial": 1.0, "rate": 3e-5, "interval": 1000, "floor": 0.1}


def test_equals_the_products_of_the_original():
    temperature = 1.0
    for step in range(1, 20_001):
        if step % 1000 == 0:
            temperature *= math.exp(-3e-5 * step)
        if step % 500 == 0:
            got = float(annealed_temperature(step, **ORIGINAL))
            assert got == pytest.approx(max(temperature, 0.1), rel=1e-5)


def test_starts_at_the_initial_value_and_keeps_the_floor():
    assert float(annealed_temperature(0, **ORIGINAL)) == 1.0
    assert float(annealed_temperature(999, **ORIGINAL)) == 1.0
    assert float(annealed_temperature(11_999, **ORIGINAL)) > 0.1
    assert float(annealed_temperature(10**6, **ORIGINAL)) == pytest.approx(0.1)


def test_rate_zero_is_constant():
    assert float(annealed_temperature(50_000, 0.66, 0.0, 1000, 0.1)) == pytest.approx(0.66)
