import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from patchvae_tf import PatchVAE, backbones
from patchvae_tf.datasets import ImageSet
from patchvae_tf.evaluation import classifiers, features, part_baselines, part_matching


def _image_set(labels, seed=0):
    """Dark images where the label is 0, bright ones where it is 1."""
    labels = np.array(labels)
    noise = np.random.default_rng(seed).integers(0, 60, (len(labels), 16, 16, 3))
    images = (noise + 120 * labels[:, None, None, None]).astype("uint8")
    keys = tuple(str(index) for index in range(len(labels)))
    return ImageSet(images=images, labels=labels, class_names=("dark", "bright"), keys=keys)


def test_what_can_be_told_apart_is_told_apart():
    model = PatchVAE(image_size=16)
    before = [np.array(weight) for weight in model.weights]
    result = classifiers.linear_probe(
        model, _image_set([0, 1] * 30), _image_set([0, 0, 1], 5), seed=0
    )
    assert result == {
        "top1": 1.0,
        "random_backbone_top1": 1.0,
        "classes": 2,
        "training_images": 60,
        "test_images": 3,
    }
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_labels_that_mean_nothing_are_not_learned():
    rng = np.random.default_rng(0)
    training, test = _image_set([0] * 100, 1), _image_set([0] * 200, 2)
    random_labels = [
        ImageSet(part.images, rng.integers(0, 2, len(part)), None, part.keys)
        for part in (training, test)
    ]
    result = classifiers.linear_probe(PatchVAE(image_size=16), *random_labels, seed=0)
    assert result["top1"] == pytest.approx(0.5, abs=0.12)


def test_the_untrained_backbone_is_that_of_the_seed():
    training, test = _image_set([0, 1] * 10), _image_set([1, 0], 3)
    rng = np.random.default_rng(1)
    noisy = ImageSet(
        rng.integers(0, 256, (300, 16, 16, 3), "uint8"), rng.integers(0, 2, 300), None, ("",) * 300
    )
    model = PatchVAE(image_size=16)
    one, same = (classifiers.linear_probe(model, noisy, noisy, seed=4) for _ in range(2))
    assert one == same
    assert one["random_backbone_top1"] > 0.6  # fitted on what it is scored on
    assert classifiers.linear_probe(model, training, None, seed=0) is None
    unlabelled = ImageSet(test.images, None, None, test.keys)
    assert classifiers.linear_probe(model, training, unlabelled, seed=0) is None
    assert classifiers.linear_probe(model, _image_set([1, 1]), test, seed=0) is None


def test_features_are_pooled_in_float32_whatever_the_policy():
    backbone = backbones.build()
    images = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 3), "uint8")
    found = features.pooled_features(backbone, images)
    expected = tf.function(backbone, autograph=False)(
        tf.image.convert_image_dtype(images[250:], tf.float32)
    )
    np.testing.assert_allclose(
        found[250:], tf.reduce_mean(expected, axis=[1, 2]), rtol=1e-5, atol=1e-6
    )
    assert (found.shape, found.dtype) == ((300, 128), "float32")


def test_areas_under_roc_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    truths = rng.random((500, 3)) < (0.1, 0.5, 0.9)
    scores = np.round(rng.normal(size=(500, 2)) + truths[:, :1], 1)  # with ties
    areas = part_matching.areas_under_roc(scores, truths)
    for learned in range(2):
        for true in range(3):
            expected = roc_auc_score(truths[:, true], scores[:, learned])
            assert areas[learned, true] == pytest.approx(expected, abs=1e-12)


def test_each_learned_part_stands_for_one_true_part():
    rng = np.random.default_rng(1)
    part_maps = rng.random((50, 2, 2, 3)) < 0.3
    noise = 0.1 * rng.random((50, 2, 2, 1))
    # Learned part 2 finds true part 0 perfectly, and 0 finds true part 1; 1 is on by chance.
    occurrence = np.concatenate(
        [part_maps[..., 1:2] + noise, noise, part_maps[..., :1] + noise], axis=-1
    )
    matches = part_matching.match_parts(occurrence, part_maps)
    assert [match.learned for match in matches] == [2, 0, 1]
    assert [match.area for match in matches[:2]] == [1.0, 1.0]
    assert matches[2].area == pytest.approx(0.5, abs=0.1)
    fewer = part_matching.match_parts(occurrence[..., :1], part_maps)
    assert [match.learned for match in fewer] == [None, 0, None]
    assert [match.area for match in fewer] == [0.5, 1.0, 0.5]


def test_occurrence_maps_are_the_models():
    model = PatchVAE(image_size=16, num_parts=3)
    images = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 3), "uint8")
    maps = features.occurrence_maps(model, images)
    expected = model(tf.image.convert_image_dtype(images[295:], tf.float32))["occurrence"]
    np.testing.assert_allclose(maps[295:], expected, rtol=1e-5, atol=1e-6)
    assert maps.shape == (300, 2, 2, 3)


def test_stage_features_are_phis_maps():
    backbone = backbones.build()
    stage = backbones.stages("resnet9")[1]
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), "uint8")
    maps = tf.keras.Model(backbone.input, backbone.get_layer("conv3_out").output)
    expected = maps(tf.image.convert_image_dtype(images, tf.float32)).numpy()  # [5, 4, 4, 64]
    flattened = features.stage_features(backbone, images, stage, pooled=False)
    np.testing.assert_allclose(flattened, expected.reshape(5, -1), rtol=1e-5, atol=1e-5)
    pooled = features.stage_features(backbone, images, stage, pooled=True)
    np.testing.assert_allclose(pooled, expected.mean(axis=(1, 2)), rtol=1e-5, atol=1e-5)


def test_neighbours_vote():
    features = np.array([[0.0, 1.0]] * 3 + [[1.0, 0.0]] * 2 + [[0.0, 1.1]])
    labels = np.array([0, 0, 0, 1, 1, 1])  # the last one lies among the others' class
    voters = classifiers.nearest_neighbours(features, labels, count=3)
    np.testing.assert_array_equal(voters.predict([[0.0, 1.05], [1.1, 0.0]]), [0, 1])


def test_matched_parts_overlap_by_intersection_over_union():
    part_maps = np.zeros((1, 2, 4, 3), bool)
    part_maps[0, 0, :2, 0] = True  # 2 places
    part_maps[0, 1, :, 1] = True  # 4 places
    occurrence = np.zeros((1, 2, 4, 2))
    occurrence[0, 0, :, 0] = [0.9, 0.1, 0.2, 0.0]  # the best two: one of them right
    occurrence[0, 1, :, 1] = [0.4, 0.3, 0.2, 0.1]  # the best four: all of them right
    matches = [part_matching.PartMatch(learned, 0.5) for learned in (0, 1, None)]
    assert part_matching.mean_iou(occurrence, part_maps, matches) == pytest.approx((1 / 3 + 1) / 3)
    # Where all values are equal, all places are the part's.
    same = part_matching.mean_iou(np.ones((1, 2, 4, 1)), part_maps[..., :1], matches[:1])
    assert same == 0.25


def test_assignments_agree_in_the_foreground_and_with_nothing_as_a_class():
    part_maps = np.array([[[[1, 0], [1, 0], [0, 1], [0, 1], [1, 1], [0, 0]]]], bool)
    high, low = [0.0, 0.9, 0.0], [0.1, 0.2, 0.1]
    occurrence = np.array([[[high, high, [0.9, 0, 0], [0.6, 0.3, 0], [0, 0, 1], low]]])
    found = part_matching.assignment_agreement(occurrence, part_maps)
    assert found == pytest.approx(dict.fromkeys(found, 1.0))
    # Nothing where something is: the foreground does not know of it.
    occurrence[0, 0, 3] /= 3
    found = part_matching.assignment_agreement(occurrence, part_maps)
    assert (found["foreground_nmi"], found["foreground_ari"]) == pytest.approx((1, 1))
    # Of parts 0 0 1 1 and nothing: 0 0 1 nothing nothing. Two pairs true, two found, one in both.
    assert found["ari"] == pytest.approx((1 - 0.4) / (2 - 0.4))
    assert 0.5 < found["nmi"] < 1


def test_baselines_find_what_can_be_found_in_features():
    rng = np.random.default_rng(0)
    part = rng.integers(0, 3, (60, 4, 4))
    part_maps = part[..., np.newaxis] == np.arange(3)
    feature_maps = (np.eye(3, 8)[part] + 0.1 * rng.random((60, 4, 4, 8))).astype("float32")
    for find in (part_baselines.kmeans_maps, part_baselines.nmf_maps):
        maps = find(feature_maps, 3, seed=0)
        assert maps.shape == (60, 4, 4, 3)
        np.testing.assert_array_equal(maps, find(feature_maps, 3, seed=0))
        assert min(match.area for match in part_matching.match_parts(maps, part_maps)) > 0.99
    linear = part_baselines.linear_maps(feature_maps, part_maps, 20)
    np.testing.assert_allclose(linear, part_maps[20:], atol=0.2)


def test_more_factors_than_places_or_channels_are_found_too():
    rng = np.random.default_rng(0)
    for shape in ((10, 4, 4, 5), (2, 2, 1, 16)):
        feature_maps = rng.random(shape).astype("float32")
        maps = part_baselines.nmf_maps(feature_maps, 8, seed=0)
        assert maps.shape == (*shape[:3], 8)
        np.testing.assert_array_equal(maps, part_baselines.nmf_maps(feature_maps, 8, seed=0))
        assert maps.min() >= 0
        assert maps.max() > 0
