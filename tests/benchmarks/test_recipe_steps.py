"""The measuring is right; what it measures is not tested."""

from benchmarks import recipe_steps
from patchvae_tf.settings import recipes


def test_every_recipe_has_a_rate():
    rates = recipe_steps.measure(image_size=16, precision="float32", rounds=1, steps=1)
    assert set(rates) == set(recipes.DESCRIPTIONS)
    assert min(rates.values()) > 0


def test_the_table_shows_rates_and_times_beside_paper():
    table = recipe_steps.table({"float32": {"agreement": 50.0, "paper": 100.4}})
    assert table.splitlines()[2:] == ["| `agreement` | 50 | 2.01 |", "| `paper` | 100 | 1.00 |"]
