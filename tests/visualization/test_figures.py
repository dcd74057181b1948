import io
import math

import keras
import matplotlib.image
import numpy as np
import pytest

from patchvae_tf import BetaVAE, InputError, PatchVAE, visualization
from patchvae_tf.layers import LaplacianWeights
from patchvae_tf.visualization.occurrence_maps import COLOUR_MAP
from patchvae_tf.visualization.swaps import shifted


def _texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def _canvas(figure):
    return np.asarray(figure.axes[0].images[0].get_array())


def test_a_table_puts_each_image_in_its_place_and_cuts_no_label_off():
    images = [np.full((4, 4, 3), value, np.uint8) for value in (10, 20, 30)]
    figure = visualization.picture_table(
        [images[:2], [None, images[2]]],
        tile_dots=40,
        row_labels=["first", "a label that is long"],
        captions=[["a", "b"], ["", "c"]],
        title="a title that is longer than all that stands below it, and by much",
    )
    canvas = _canvas(figure)
    assert [(canvas == value).all(axis=-1).sum() for value in (10, 20, 30)] == [1600] * 3
    assert {"first", "a label that is long", "a", "b", "c"} <= set(_texts(figure))
    figure.savefig(io.BytesIO(), format="png")  # lays the texts out
    width, height = figure.get_size_inches() * figure.dpi
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert 0 <= box.x0 <= box.x1 <= width, text
        assert 0 <= box.y0 <= box.y1 <= height, text


def test_reconstructions_and_differences_stand_below_their_images(model, images):
    canvas = _canvas(visualization.reconstruction_figure(model, images[:2])).astype(int)
    floats = (images[:2] / 255.0).astype("float32")
    rebuilt = model(floats)["reconstruction"].numpy()
    top = np.flatnonzero((canvas != 255).any(axis=(1, 2)))[0]
    left = np.flatnonzero((canvas != 255).any(axis=(0, 2)))[0]
    for row, expected in enumerate((floats, rebuilt, np.abs(floats - rebuilt))):
        for column in range(2):
            y, x = top + 84 * row, left + 84 * column
            tile = canvas[y : y + 80 : 5, x : x + 80 : 5]
            np.testing.assert_allclose(tile, 255 * expected[column], atol=1.0)


def test_a_heat_map_has_the_colour_of_its_bar():
    grey = np.full((16, 16, 3), 128, np.uint8)
    shown = visualization.heat_map(grey, np.array([[0.0, 1.0], [0.25, 0.5]]))
    for (row, column), value in {(0, 0): 0.0, (0, 1): 1.0, (1, 0): 0.25, (1, 1): 0.5}.items():
        block = shown[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        assert (block == block[0, 0]).all()
        expected = 255 * np.array(COLOUR_MAP(value)[:3])
        assert abs(block[0, 0] - expected).max() <= 2, value


def test_occurrence_maps_have_a_row_a_part_with_its_number(model, images):
    texts = _texts(visualization.occurrence_figure(model, images[:3], parts=[2, 0]))
    assert "part 2\nmean 100%" in texts
    assert any(text.startswith("part 0\n") for text in texts)
    assert "Where each part occurs (2 of 4 parts)" in texts


def test_gallery_tells_probability_and_class(model, survey):
    texts = _texts(visualization.gallery_figure(model, survey))
    best = survey.findings[0][0]
    name = ("cat", "wild dog")[best.label]
    assert f"{best.probability:.2f}\n{name}" in texts
    assert "Where each part is most probable: 16 × 16 pixels (a location sees 115)" in texts


def test_the_receptive_field_is_where_the_gradient_is():
    inputs = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(2, 5, strides=2, padding="same")(inputs)
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same")(x)
    main = keras.layers.Conv2D(2, 3, padding="same")(x)
    network = keras.Model(inputs, keras.layers.Add()([main, keras.layers.Conv2D(2, 1)(x)]))
    assert visualization.receptive_field(network) == 1 + 4 + 2 * 2 + 2 * 4
    assert visualization.receptive_field(PatchVAE(image_size=8).backbone) == 99


def test_weight_masks_are_those_of_the_loss(images):
    canvas = _canvas(visualization.weight_mask_figure(images[:1]))
    weights = LaplacianWeights(8)((images[:1] / 255.0).astype("float32")).numpy().mean(axis=-1)[0]
    top = np.flatnonzero((canvas != 255).any(axis=(1, 2)))[0] + 2 * 84
    left = np.flatnonzero((canvas != 255).any(axis=(0, 2)))[0]
    tile = canvas[top : top + 80 : 5, left : left + 80 : 5, 0]
    np.testing.assert_allclose(tile, 255 * weights / weights.max(), atol=1)


def test_swapping_with_itself_and_moving_by_nothing_change_nothing(model, images):
    rebuilt = model((images[:1] / 255.0).astype("float32"))["reconstruction"][0]
    same = visualization.swap_appearance(model, images[0], images[0], 0)
    np.testing.assert_allclose(same, rebuilt, atol=1e-5)
    unmoved = visualization.move_part(model, images[0], 0, 0, 0)
    np.testing.assert_allclose(unmoved, rebuilt, atol=1e-5)
    swapped = visualization.swap_appearance(model, images[0], images[1], 2)
    assert np.abs(swapped - rebuilt.numpy()).max() > 1e-3


def test_a_part_moved_out_of_the_image_is_gone(model, images):
    codes = model((images[:1] / 255.0).astype("float32"))
    occurrence = codes["occurrence"].numpy()
    occurrence[..., 2] = [[[0, 0], [0, occurrence[0, 0, 0, 2]]]]
    expected = model.decoder(model.latent_map(occurrence, codes["appearance_mean"]))[0]
    moved = visualization.move_part(model, images[0], 2, 1, 1)
    np.testing.assert_allclose(moved, expected, atol=1e-5)
    with pytest.raises(InputError, match="one of 0 ... 3. Received: 4"):
        visualization.move_part(model, images[0], 4, 0, 0)


@pytest.mark.parametrize("move", [(4, 0), (5, -1), (0, 6), (-5, 0), (1, -9)])
def test_what_is_moved_beyond_the_grid_is_gone_too(move):
    np.testing.assert_array_equal(shifted(np.ones((4, 5)), *move), np.zeros((4, 5)))


def test_samples_of_the_prior_have_its_rate_and_depend_on_the_seed(model):
    taken = []
    original = model.latent_map
    try:
        model.latent_map = lambda o, a: taken.append((o.numpy(), a.numpy())) or original(o, a)
        one = visualization.sample_prior(model, 500, seed=1)
    finally:
        model.latent_map = original
    occurrence, appearance = taken[0]
    assert set(np.unique(occurrence)) == {0.0, 1.0}
    assert occurrence.mean() == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 8000))
    assert appearance.std() == pytest.approx(1.0, abs=0.05)
    np.testing.assert_array_equal(one, visualization.sample_prior(model, 500, seed=1))
    assert (one != visualization.sample_prior(model, 500, seed=2)).any()
    figure = visualization.prior_figure(model, rows=1, columns=2, seed=7)
    assert "Samples from the prior: N = 4, d_p = 2, p = 0.25, seed 7" in _texts(figure)


def test_categorical_samples_have_one_part_at_each_location():
    model = PatchVAE(image_size=16, num_parts=3, appearance_dim=2, occurrence="categorical")
    taken = []
    original = model.latent_map
    model.latent_map = lambda o, a: taken.append(o.numpy()) or original(o, a)
    visualization.sample_prior(model, 4)
    np.testing.assert_array_equal(taken[0].sum(axis=-1), np.ones((4, 2, 2)))


def test_projection_keeps_groups_together_and_colours_them():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    features = rng.normal(size=(40, 8)) + 20 * labels[:, np.newaxis]
    points = visualization.project(features)
    distances = np.linalg.norm(points[:, np.newaxis] - points, axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(axis=1)] == labels).all()
    figure = visualization.projection_figure(features, labels, ("cat", "wild_dog"))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cat", "wild dog"]
    with pytest.raises(InputError, match="10 images or more. Received: 3"):
        visualization.project(features[:3])


@pytest.mark.parametrize("scale", [0.0, 1e-9], ids=["equal", "equal but for rounding"])
def test_a_projection_of_equal_features_is_refused(scale):
    # t-SNE itself ends the process there.
    features = 0.3 + scale * np.random.default_rng(0).random((150, 8))
    with pytest.raises(InputError, match=r"features that differ\. Received: the same for all 150"):
        visualization.project(features)
    features[7] += 0.1
    assert np.isfinite(visualization.project(features)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_projection_of_what_is_not_finite_is_refused(value):
    features = np.random.default_rng(0).random((20, 8))
    features[3:5, 2] = value
    with pytest.raises(InputError, match="finite features.*in those of 2 of 20 images"):
        visualization.project(features)


def test_bars_are_the_survey_s_and_name_dead_parts(survey):
    figure = visualization.frequency_figure(survey)
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    np.testing.assert_allclose(heights, [*100 * survey.present, *100 * survey.rate])
    names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert names == ["0\n", "1\ndead", "2\non", "3\n"]
    assert visualization.cooccurrence_figure(survey).axes[0].images[0].get_clim() == (-1, 1)


def test_matched_parts_are_sorted_and_named(model, images):
    maps = np.zeros((23, 2, 2, 2), bool)
    maps[:, 0, 0, 0] = maps[::2, 1, 1, 1] = True
    figure = visualization.matching_figure(
        model, images, maps, [(3, 0.6), (None, 0.9)], ("red_ring", "bar"), columns=4
    )
    labels = [text for text in _texts(figure) if "area" in text]
    assert labels == ["bar\nno part, area 0.90", "red ring\npart 3, area 0.60"]


def test_curves_and_filters(model):
    training = {"loss": ([1, 2], [5.0, 3.0]), "temperature": ([1, 2], [1.0, 0.9])}
    held_out = {"loss": ([2], [4.0]), "part_agreement": ([2], [0.7])}
    figure = visualization.curves_figure(training, held_out)
    lines = [[line.get_ydata().tolist() for line in axes.lines] for axes in figure.axes]
    assert lines == [[[5.0, 3.0], [4.0]], [[1.0, 0.9]], [[0.7]]]
    assert "The first layer's 64 filters, 7 × 7 pixels" in _texts(
        visualization.first_layer_figure(model)
    )


def test_models_without_parts_are_drawn_too(images):
    model = BetaVAE(image_size=16, latent_dim=3)
    figure = visualization.prior_figure(model, rows=1, columns=2)
    assert "Samples from the prior: 3 numbers of N(0, 1), seed 0" in _texts(figure)
    buffer = io.BytesIO()
    visualization.reconstruction_figure(model, images[:2]).savefig(buffer, format="png")
    buffer.seek(0)
    assert matplotlib.image.imread(buffer).std() > 0


def test_a_part_painted_alone_is_what_the_decoder_makes_of_its_code(model, images):
    codes = model((images[:1] / 255.0).astype("float32"))
    latent = codes["latent"].numpy()  # of part i the channels i * appearance_dim and on
    size = model.appearance_dim
    latent[..., : 2 * size] = 0
    latent[..., 3 * size :] = 0
    painted = visualization.painted_alone(model, images[0], 2)
    np.testing.assert_allclose(painted, model.decoder(latent)[0], atol=1e-5)
    with pytest.raises(InputError, match="one of 0 ... 3. Received: 4"):
        visualization.painted_alone(model, images[0], 4)


def test_parts_that_occur_are_outlined_and_named(model, images):
    occurrence = model((images[:3] / 255.0).astype("float32"))["occurrence"].numpy()
    names = {0: "ear", 3: "tail"}
    figure = visualization.outlined_figure(model, images[:3], names, columns=2)
    assert len(figure.axes) == 3
    for axes, maps in zip(figure.axes, occurrence, strict=True):
        expected = [name for part, name in names.items() if maps[..., part].max() >= 0.4]
        assert [text.get_text() for text in axes.texts] == expected
    assert any(axes.texts for axes in figure.axes)
