"""What is said of parts without ground truth, of maps with known answers."""

import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import PatchVAE
from patchvae_tf.evaluation import part_consistency

ORDER = np.roll(np.arange(200), 1)


def _maps(parts=2, seed=0):
    """Parts that occur here and there: 0 or 1, float [200, 3, 3, parts]."""
    return (np.random.default_rng(seed).random((200, 3, 3, parts)) < 0.3).astype("float32")


def _summary(first, second):
    return part_consistency.summary(first, first, second, ORDER)


def test_parts_found_again_agree_and_others_do_not():
    maps = _maps()
    assert _summary(maps, maps)["part_agreement"] == pytest.approx(1, abs=0.1)
    assert _summary(maps, _maps(seed=1))["part_agreement"] == pytest.approx(0, abs=0.1)
    half = np.where(np.arange(200)[:, None, None, None] % 2, maps, _maps(seed=1))
    assert _summary(maps, half)["part_agreement"] == pytest.approx(0.5, abs=0.1)
    # The mean of the parts: one is found again, the other is not.
    one = np.stack([maps[..., 0], _maps(seed=1)[..., 1]], axis=-1)
    assert _summary(maps, one)["part_agreement"] == pytest.approx(0.5, abs=0.1)


def test_place_alone_and_what_is_always_on_are_worth_nothing():
    maps = _maps()
    place = np.zeros((200, 3, 3, 2), "float32")
    place[:, 0] = 1
    for same in (place, np.ones_like(place)):
        assert _summary(same, same)["part_agreement"] == pytest.approx(0, abs=1e-6)
    # Half of the variance is the place's: what is more than that counts.
    mixed = np.maximum(place, 0.9 * maps)
    above = _summary(mixed, mixed)["part_agreement"]
    assert 0.1 < above < 0.8


def test_alive_are_parts_that_occur_in_one_image_of_a_hundred():
    maps = np.zeros((200, 2, 2, 4), "float32")
    maps[:2, 0, 0, 0] = 0.6  # 1%
    maps[:1, 0, 0, 1] = 0.9  # less
    maps[:, 0, 0, 2] = 0.5  # not above
    maps[:100, 0, :, 3] = [0.75, 0.25]
    found = part_consistency.summary(maps, maps, maps, ORDER)
    assert found["parts_alive"] == 2
    assert found["part_concentration"] == pytest.approx((2 * 1.0 + 100 * 0.75) / 102)
    dead = part_consistency.summary(0 * maps, maps, maps, ORDER)
    assert dead == {"part_agreement": 0.0, "parts_alive": 0, "part_concentration": 0.0}
    line = part_consistency.in_words({"parts_alive": 2, "part_agreement": 0.714}, 4)
    assert line == "parts: 2 alive of 4, two views agree 0.71 above chance and place"


class _Brightness:
    """Finds bright places; or, with `place`, the first row of whatever it is shown."""

    stride = 8

    def __init__(self, place):
        self._place = place

    def encode(self, images):
        cells = tf.nn.avg_pool2d(images, 8, 8, "VALID")[..., :1]
        if self._place:
            first = tf.range(tf.shape(cells)[1]) == 0
            cells = tf.zeros_like(cells) + tf.cast(first, tf.float32)[:, tf.newaxis, tf.newaxis]
        return {"occurrence": tf.cast(cells > 0.5, tf.float32)}


@pytest.mark.parametrize("side", [2, 4, 8])
def test_views_show_the_same_places(side):
    cells = np.random.default_rng(0).random((150, side, side, 1)) < 0.3
    images = np.kron(np.where(cells, 230, 30), np.ones((1, 8, 8, 3))).astype("uint8")
    bright = part_consistency.PartConsistency(_Brightness(False), images, seed=0)
    found = bright.measure()
    assert found["part_agreement"] > 0.8  # some are made darker
    assert found["parts_alive"] == 1
    assert found == bright.measure()
    place = part_consistency.PartConsistency(_Brightness(True), images, seed=0).measure()
    assert place["part_agreement"] == pytest.approx(0, abs=1e-6)


def test_a_model_and_images_of_any_number_are_measured():
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), "uint8")
    for stride in (4, 8):
        model = PatchVAE(image_size=16, num_parts=3, stride=stride)
        found = part_consistency.PartConsistency(model, images, seed=0).measure()
        assert -1 <= found["part_agreement"] <= 1
        assert 0 <= found["parts_alive"] <= 3
