import numpy as np
import pytest

from patchvae_tf import BetaVAE, InputError, visualization
from patchvae_tf.visualization.galleries import patch
from patchvae_tf.visualization.part_statistics import correlation


@pytest.fixture(scope="module")
def occurrence(model, images):
    return model((images / 255.0).astype("float32"))["occurrence"].numpy()


def test_counts_are_those_of_all_images_at_once(survey, occurrence):
    assert survey.count == 23
    np.testing.assert_allclose(survey.rate, occurrence.mean(axis=(0, 1, 2)), atol=1e-5)
    present = (occurrence.max(axis=(1, 2)) >= 0.5).astype(float)
    np.testing.assert_allclose(survey.present, present.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(survey.together, present.T @ present / 23, atol=1e-12)
    assert 0.0 < survey.present[0] < 1.0
    assert survey.dead == [1]
    assert survey.always_on == [2]


def test_findings_are_the_best_of_all_images_each_once(survey, occurrence, images):
    for part in (0, 3):
        peaks = occurrence[..., part].max(axis=(1, 2))
        best = np.argsort(-peaks, kind="stable")[:3]
        found = survey.findings[part]
        assert [int(finding.key) for finding in found] == best.tolist()
        for finding, index in zip(found, best, strict=True):
            assert finding.probability == pytest.approx(peaks[index], abs=1e-5)
            place = np.unravel_index(occurrence[index, ..., part].argmax(), (2, 2))
            assert (finding.row, finding.column) == place
            assert finding.label == index % 2
            np.testing.assert_array_equal(finding.image, images[index])


def test_features_are_of_equally_many_images_of_each_class(survey, model, images):
    assert np.bincount(survey.labels).tolist() == [12, 11]
    feature_map = model.backbone((images / 255.0).astype("float32"))
    np.testing.assert_allclose(
        survey.features, np.mean(feature_map, axis=(1, 2)), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("labels", [[3, 8, 3, 8, 3], [-1] * 5])
def test_images_of_no_class_that_is_drawn_have_features_too(model, images, labels):
    names = [f"class {number}" for number in range(12)]  # 3 and 8 are not among ten spread over it
    seen = visualization.survey(
        model, [(np.arange(5), images[:5], np.array(labels))], class_names=names, most_features=4
    )
    assert seen.labels.tolist() == labels[:4]
    np.testing.assert_array_equal(seen.thumbnails, images[:4])
    assert seen.features.shape == (4, 128)


def test_correlation_is_that_of_the_images(survey, occurrence):
    present = (occurrence.max(axis=(1, 2)) >= 0.5).astype(float)
    values = correlation(survey)
    expected = np.corrcoef(present[:, 0], present[:, 3])[0, 1]
    np.testing.assert_allclose(values[0, 3], expected, atol=1e-9)
    assert np.isnan(values[1]).all()  # it never occurs


def test_models_without_parts_have_features_alone(images):
    model = BetaVAE(image_size=16, latent_dim=3)
    labels = np.full(len(images), -1)
    seen = visualization.survey(model, [(np.arange(23), images, labels)])
    assert (seen.rate.shape, seen.findings) == ((0,), [])
    assert seen.features.shape == (23, 128)
    with pytest.raises(InputError, match="needs a PatchVAE. Received: a BetaVAE"):
        visualization.occurrence_figure(model, images[:2])


def test_no_image_is_an_error(model):
    with pytest.raises(InputError, match="no image to look at"):
        visualization.survey(model, [])


def test_a_patch_is_cut_around_its_location():
    image = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    finding = visualization.Finding(1.0, 1, 0, "a", -1, image, 1.0)
    np.testing.assert_array_equal(patch(finding, 8, 8), image[8:, :8])
    wider = patch(finding, 8, 12)
    np.testing.assert_array_equal(wider[:10, 2:], image[6:, :10])
    assert (wider[10:] == 128).all()
    assert (wider[:, :2] == 128).all()
