"""`FeatureExtractor` where scikit-learn takes a transformer, and by scikit-learn's own checks."""

import subprocess
import sys
import warnings

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import patchvae_tf
from patchvae_tf import FeatureExtractor, InputError


def _classifier(preset, **settings):
    return make_pipeline(
        FeatureExtractor(preset, **settings), StandardScaler(), LogisticRegression(max_iter=200)
    )


@pytest.mark.parametrize("form", ["arrays", "paths"])
def test_a_pipeline_is_cross_validated_on_images(form, preset, images, folder, labels):
    paths = sorted(folder.rglob("*.png"), key=lambda path: path.name)
    scores = cross_val_score(
        _classifier(preset), images if form == "arrays" else paths, labels, cv=2
    )
    assert list(scores) == [1.0] * 2  # bright or dark: every feature tells


def test_a_grid_is_searched_over_pooling_and_stages(preset, images, labels):
    grid = {
        "featureextractor__pooling": ["mean", "max", "flat"],
        "featureextractor__stage": ["conv1", None],
    }
    search = GridSearchCV(_classifier(preset), grid, cv=2, error_score="raise")
    search.fit(images, labels)
    assert len(search.cv_results_["params"]) == 6
    assert search.best_score_ == 1.0
    assert list(search.predict(images[:2])) == [0, 0]


def test_it_is_what_embed_gives(preset, images):
    extractor = FeatureExtractor(preset, pooling="parts", crops=2).fit(images)
    expected = patchvae_tf.embed(images, preset, pooling="parts", crops=2).features
    np.testing.assert_array_equal(extractor.transform(images), expected)
    assert (extractor.n_features_out_, extractor.image_size_) == (9, 16)
    assert list(extractor.get_feature_names_out()[:2]) == ["parts0", "parts1"]


def test_it_goes_through_joblib_and_clone(preset, images, tmp_path):
    extractor = FeatureExtractor(preset, stage="conv1").fit(images)
    expected = extractor.transform(images)
    joblib.dump(extractor, tmp_path / "extractor.joblib")
    assert (tmp_path / "extractor.joblib").stat().st_size < 2000  # no weights in it
    again = joblib.load(tmp_path / "extractor.joblib")
    np.testing.assert_array_equal(again.transform(images), expected)
    assert clone(extractor).get_params() == extractor.get_params()
    with pytest.raises(NotFittedError):
        clone(extractor).transform(images)


def test_what_is_wrong_is_said_by_fit(preset, images, model):
    for settings, message in (
        ({"model": None}, "model must be a preset's name or a path.*Received: None"),
        ({"model": model}, "Save a model of your own by save_to_preset"),
        ({"model": preset, "pooling": "sum"}, "pooling must be one of"),
        ({"model": preset, "stage": "conv9"}, "has no stage conv9"),
    ):
        with pytest.raises(InputError, match=message):
            FeatureExtractor(**settings).fit(images)
    with pytest.raises(InputError, match="X must be an array of images or a list of paths"):
        FeatureExtractor(preset).fit("folder")
    with pytest.raises(InputError, match="is not a file"):
        FeatureExtractor(preset).fit(["a.png", "b.png"])


class RowsAsImages(FeatureExtractor):
    """Takes tables, as scikit-learn's checks have them: a row is drawn as the grey of an image.

    scikit-learn checks no estimator that takes anything but tables beyond a handful of checks.
    """

    def fit(self, X, y=None):  # noqa: N803
        return super().fit(self._drawn(X), y)

    def transform(self, X):  # noqa: N803
        return super().transform(self._drawn(X))

    @staticmethod
    def _drawn(table):
        table = np.asarray(table, float)
        drawn = np.zeros((len(table), 16, 16, 3), "float32")
        for column in range(table.shape[1]):
            drawn[:, column % 16, column // 16] = 1 / (1 + np.exp(-table[:, column, None]))
        return drawn

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.string = False
        return tags


# What no estimator of images can pass: these want the refusals of tables, or their column count.
OF_TABLES = {
    "check_estimators_nan_inf": "wants an error for NaN in a table",
    "check_estimator_sparse_tag": "an image is not a sparse matrix",
    "check_estimator_sparse_array": "an image is not a sparse matrix",
    "check_estimator_sparse_matrix": "an image is not a sparse matrix",
    "check_complex_data": "wants an error for complex numbers in a table",
    "check_estimators_empty_data_messages": "wants an error for a table without columns",
    "check_fit1d": "wants an error for a row: it is no table",
    "check_fit2d_predict1d": "wants an error for a row: it is no table",
    "check_n_features_in": "images have no columns to count",
    "check_n_features_in_after_fitting": "images have no columns to count",
    "check_transformer_general": "images have no columns to count",
}


def test_scikit_learn_s_own_checks_pass_but_for_those_of_tables(preset):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            RowsAsImages(preset, image_size=16),
            expected_failed_checks=OF_TABLES,
            on_fail=None,
            on_skip=None,
        )
    failed = [result["check_name"] for result in results if result["status"] == "failed"]
    assert failed == []
    passed = {result["check_name"] for result in results if result["status"] == "passed"}
    assert {
        "check_estimator_cloneable",
        "check_estimators_pickle",
        "check_fit_idempotent",
        "check_get_params_invariance",
        "check_methods_subset_invariance",
        "check_methods_sample_order_invariance",
        "check_no_attributes_set_in_init",
        "check_pipeline_consistency",
        "check_dict_unchanged",
    } <= passed
    needed = {result["check_name"] for result in results if result["status"] == "xfail"}
    assert needed == set(OF_TABLES)  # no check is excused that would pass


def test_scikit_learn_s_checks_of_it_as_it_is(preset):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(FeatureExtractor(preset), on_skip=None)
    assert {result["status"] for result in results} == {"passed"}


def test_the_package_is_there_without_scikit_learn():
    program = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import importlib.util as u; found = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'sklearn' else found(name, *more)\n"
        "import patchvae_tf\n"
        "patchvae_tf.embed\n"
        "try:\n    patchvae_tf.FeatureExtractor\n"
        "except patchvae_tf.InputError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == (
        "FeatureExtractor needs the extra `sklearn`: sklearn is not installed: pip install "
        "'patchvae-tf[sklearn]'\n"
    ), done.stderr
