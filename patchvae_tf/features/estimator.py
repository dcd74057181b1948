"""A scikit-learn transformer from images to features."""

import os
import typing

import numpy as np

from patchvae_tf import extras
from patchvae_tf.errors import InputError
from patchvae_tf.features import computing, embedding, sources
from patchvae_tf.features.pooling import Pooling
from patchvae_tf.settings.pixels import Pixels

extras.require("sklearn", "FeatureExtractor")

from sklearn.base import BaseEstimator, TransformerMixin  # noqa: E402
from sklearn.utils.validation import check_is_fitted  # noqa: E402


class FeatureExtractor(TransformerMixin, BaseEstimator):
    """Images to features, by a trained model that `fit` leaves as it is.

    It goes into a `Pipeline`, `cross_val_score` and `GridSearchCV`, and through joblib; the model
    itself is read from its file where it is needed, and kept for the next call.

    Args:
        model: str or path, a preset's name, e.g. "parts", or its folder; a run, an export or an
            .onnx file.
        pooling, stage, crops, image_size, value_range, batch_size: as of `patchvae_tf.embed`.

    Attributes:
        image_size_: int, pixels, to which images are brought.
        n_features_out_: int, numbers for an image.

    X, of `fit` and `transform`: an array, uint8 or floats in [0, 1], [n, H, W, channels], or paths
    of image files.
    """

    def __init__(
        self,
        model: str | os.PathLike | None = None,
        pooling: str = "mean",
        stage: str | None = None,
        crops: int = 1,
        image_size: int | None = None,
        value_range: str | None = None,
        batch_size: int | None = None,
    ):
        self.model = model
        self.pooling = pooling
        self.stage = stage
        self.crops = crops
        self.image_size = image_size
        self.value_range = value_range
        self.batch_size = batch_size

    def fit(self, X, y=None):  # noqa: N803 (scikit-learn's name)
        """Checks the settings and the images; nothing is learned from them.

        Raises:
            InputError: a setting is wrong, there is no such model, or X are no images.
        """
        del y
        if not isinstance(self.model, str | os.PathLike):
            raise InputError(
                "model must be a preset's name or a path: they go through clone and joblib. "
                f"Received: {self.model!r}. Save a model of your own by save_to_preset."
            )
        how = Pooling(self.pooling, self.stage, self.crops)
        source = sources.find(self.model)
        size = computing.checked_size(self.image_size, source)
        pixels = Pixels.of(source.channels, self.value_range)
        embedding.open_images(_checked(X), size, pixels)
        _, shapes = embedding.loaded(self.model, source, how, size)
        self.image_size_ = size
        (self.n_features_out_,) = shapes[computing.FEATURES]
        return self

    def transform(self, X: embedding.Images) -> np.ndarray:  # noqa: N803
        """float32 [n, d], the features of X.

        Raises:
            InputError: X are no images, or one of them cannot be read.
        """
        check_is_fitted(self)
        return embedding.embed(
            _checked(X),
            self.model,
            pooling=self.pooling,
            stage=self.stage,
            crops=self.crops,
            image_size=self.image_size,
            value_range=self.value_range,
            batch_size=self.batch_size,
        ).features

    def get_feature_names_out(self, input_features: typing.Any = None) -> np.ndarray:
        """Names of the numbers, e.g. "mean0" or "conv1_3_max5"; `input_features` is ignored."""
        del input_features
        check_is_fitted(self)
        names = Pooling(self.pooling, self.stage, self.crops).names(self.n_features_out_)
        return np.array(names, object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # images, or paths
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float32"]  # it is always that
        return tags


def _checked(images):
    if isinstance(images, str | os.PathLike):
        raise InputError(
            f"X must be an array of images or a list of paths. Received: the path {images}. "
            "Features of a folder: patchvae_tf.embed(FOLDER, model)."
        )
    return images
