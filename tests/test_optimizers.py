"""The fused Adam is Keras' Adam."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import InputError
from patchvae_tf.optimizers import FusedAdam

SETTINGS = {"learning_rate": 0.01, "beta_1": 0.5, "beta_2": 0.99, "weight_decay": 0.1}


def _trained(make, strategy, steps=6):
    with strategy.scope():
        optimizer = make(**SETTINGS)
        weights = [keras.Variable(np.linspace(-1.0, 1.0, n), dtype="float32") for n in (5, 70)]
        optimizer.build(weights)

    @tf.function(autograph=False)
    def step():
        def on_replica():
            optimizer.apply([tf.sin(3.0 * w.value) + w.value for w in weights], weights)

        strategy.run(on_replica)

    for _ in range(steps):
        step()
    return [w.numpy() for w in weights], [v.numpy() for v in optimizer.variables]


@pytest.mark.parametrize("mirrored", [False, True])
def test_weights_and_state_are_those_of_keras(mirrored, two_replicas):
    strategy = two_replicas if mirrored else tf.distribute.get_strategy()
    assert strategy.num_replicas_in_sync == 1 + mirrored
    expected, found = (_trained(m, strategy) for m in (keras.optimizers.Adam, FusedAdam))
    for ours, theirs in zip(found, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-7)
    assert np.abs(expected[0][1] - np.linspace(-1.0, 1.0, 70)).max() > 0.03  # it did move


def test_a_schedule_is_followed():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 3)
    optimizer = FusedAdam(schedule)
    weight = keras.Variable(1.0)
    optimizer.build([weight])
    values = []
    for _ in range(4):
        optimizer.apply([tf.constant(2.0)], [weight])
        values.append(float(weight.value))
    # With a constant gradient a step of Adam is the learning rate.
    rates = [float(schedule(step)) for step in range(4)]
    np.testing.assert_allclose(values, 1.0 - np.cumsum(rates), rtol=1e-5)


def test_what_was_traced_is_freed():
    def traced():
        optimizer, weight = FusedAdam(), keras.Variable(1.0)
        optimizer.build([weight])
        step = tf.function(lambda: optimizer.apply([tf.constant(2.0)], [weight]), autograph=False)
        return weakref.ref(step.get_concrete_function().graph)

    graph = traced()
    gc.collect()
    assert graph() is None


def test_a_schedule_is_evaluated_once_a_step():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 3, warmup_target=0.2, warmup_steps=2)
    weights = [keras.Variable(1.0) for _ in range(5)]
    optimizer = FusedAdam(schedule, weight_decay=0.1)
    optimizer.build(weights)
    gradients = [tf.constant(2.0)] * 5
    step = tf.function(lambda: optimizer.apply(gradients, weights), autograph=False)
    operations = step.get_concrete_function().graph.get_operations()
    assert [operation.type for operation in operations].count("StatelessIf") == 1


def test_it_is_saved_and_loaded_with_its_settings():
    optimizer = keras.optimizers.get(keras.optimizers.serialize(FusedAdam(**SETTINGS)))
    assert type(optimizer) is FusedAdam
    assert (optimizer.beta_1, optimizer.beta_2, optimizer.weight_decay) == (0.5, 0.99, 0.1)


def test_amsgrad_is_refused():
    with pytest.raises(InputError, match="amsgrad"):
        FusedAdam(amsgrad=True)
