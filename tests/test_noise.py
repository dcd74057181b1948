import ast
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import noise

SEED = tf.constant([5, 6], tf.int32)


def test_step_seeds_differ_by_step_and_by_seed():
    seeds = {tuple(noise.step_seed(s, step).numpy()) for s in (0, 1) for step in range(100)}
    assert len(seeds) == 200


def test_uniform_stays_inside_the_open_interval():
    drawn = noise.uniform((2_000_000,), SEED).numpy()
    assert 0.0 < drawn.min() < 1e-5
    assert 1.0 - 1e-5 < drawn.max() < 1.0
    assert drawn.mean() == pytest.approx(0.5, abs=0.001)


def test_jitted_noise_is_the_same():
    jitted = tf.function(lambda: noise.uniform((64, 7), SEED), jit_compile=True)()
    np.testing.assert_array_equal(jitted, noise.uniform((64, 7), SEED))
    jitted = tf.function(lambda: noise.normal((64, 7), SEED), jit_compile=True)()
    np.testing.assert_allclose(jitted, noise.normal((64, 7), SEED), atol=1e-5)


def test_normal_has_the_moments_and_tails_of_the_normal():
    drawn = noise.normal((1_000_000,), SEED).numpy()
    moments = [np.mean(drawn**power) for power in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0.0, 1.0, 0.0, 3.0], atol=0.03)
    assert np.mean(np.abs(drawn) > 1.959964) == pytest.approx(0.05, abs=0.001)


@pytest.mark.parametrize("draw", [noise.uniform, noise.normal])
def test_replicas_draw_their_rows_of_the_global_noise(draw, two_replicas):
    halves = two_replicas.experimental_local_results(two_replicas.run(lambda: draw((3, 4), SEED)))
    assert np.abs(halves[0] - halves[1]).max() > 0.01
    np.testing.assert_array_equal(np.concatenate(halves), draw((6, 4), SEED))


def test_shuffled_is_a_permutation_that_depends_on_the_seed():
    one = noise.shuffled(tf.range(100, dtype=tf.int64), SEED, 100).numpy()
    other = noise.shuffled(tf.range(100, dtype=tf.int64), SEED + 1, 100).numpy()
    assert sorted(one) == list(range(100))
    assert (one != other).mean() > 0.9
    assert (one != np.arange(100)).mean() > 0.9


def test_indexed_uniforms_belong_to_the_index():
    whole = noise.indexed_uniforms(7, 0, range(10), 5)
    np.testing.assert_array_equal(noise.indexed_uniforms(7, 0, [8, 3], 5), whole[[8, 3]])
    assert not np.isin(noise.indexed_uniforms(7, 1, range(10), 5), whole).any()
    assert len(np.unique(whole)) == 50


def test_only_the_noise_file_draws_random_numbers():
    package = pathlib.Path(noise.__file__).parent
    for path in package.rglob("*.py"):
        if path.name == "noise.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                assert node.attr != "random", f"{path}:{node.lineno} draws random numbers"
