"""Requests that are answered at once, as a server answers them, in one process."""

import concurrent.futures

import numpy as np
import pytest
import tensorflow as tf

from tests.export.exporting import CLOSE, SIZE, assert_same
from tests.export.serving_clients import input_of
from tests.testing_utils import random_images


# A kernel that several executions share shows seldom: once in some thousand calls it gave the
# numbers of another call, or ended the process.
@pytest.mark.parametrize("name", ["serving_default", "stages", "reconstruct", "decode"])
def test_each_of_many_calls_at_once_gets_its_own_answer(loaded, name):
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
        assert len(list(pool.map(check, range(4_000)))) == 4_000
