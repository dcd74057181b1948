"""Requests that are answered at once, as a server answers them, in one process."""

import concurrent.futures

import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf.saved_models import signatures
from tests.export.exporting import CLOSE, SIZE, assert_same
from tests.export.serving_clients import input_of
from tests.testing_utils import random_images


# A kernel that several executions share shows seldom: once in some thousand calls it gave the
# numbers of another call, or ended the process. The kernels of `stages` are also those of
# `serving_default`, and the decoder's of `decode` those of `reconstruct`.
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("serving_default", 4_000),
        ("stages", 1_000),
        ("decode", 1_000),
        ("reconstruct", 1_000),
        pytest.param("reconstruct", 4_000, marks=pytest.mark.slow),
    ],
)
def test_each_of_many_calls_at_once_gets_its_own_answer(loaded, name, count):
    signature = loaded.signatures[name]
    shape = [2 if side is None else side for side in signature.inputs[0].shape]
    if input_of(name) == "images":
        batches = [random_images(2, SIZE, seed) for seed in range(6)]
    else:
        batches = [np.random.default_rng(seed).normal(size=shape) for seed in range(6)]
    batches = [tf.constant(batch, tf.float32) for batch in batches]
    expected = [{key: value.numpy() for key, value in signature(x).items()} for x in batches]

    def check(index):
        which = index % len(batches)
        assert_same(signature(batches[which]), expected[which], **CLOSE)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(check, range(count)))) == count


def test_every_signature_of_images_and_codes_is_called():
    called = {"serving_default", "reconstruct", "stages", "decode"}
    assert called == set(signatures.NAMES) - {"serving_bytes", "serving_examples"}
