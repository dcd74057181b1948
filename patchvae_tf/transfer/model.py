"""From settings to the classifier: φ from where it was asked for, and what of it is trained.

Distance from the original: Keras' momentum keeps the learning rate of the steps it comes from,
PyTorch's takes the present one, so that the two differ for some tens of steps after a cut.
"""

import dataclasses
import typing
import zlib
from collections.abc import Callable

import keras
import tensorflow as tf

import patchvae_tf
from patchvae_tf import noise, pretrained, resnet18_weights
from patchvae_tf.models import FeatureClassifier, TransferClassifier
from patchvae_tf.saved_models import loaded as exported
from patchvae_tf.settings import Views
from patchvae_tf.transfer.config import TransferConfig
from patchvae_tf.transfer.data import TransferData


@dataclasses.dataclass(frozen=True)
class TransferModel:
    """The classifier before training.

    Attributes:
        config: TransferConfig, resolved.
        dtype_policy: str.
        classifier: TransferClassifier, or None where φ is a SavedModel.
        feature_map: function of uint8 images -> float32 maps, where φ is all frozen: then the head
            is trained on its features alone; else None.
        checksum: int or str that changes with φ.
    """

    config: TransferConfig
    dtype_policy: str
    classifier: TransferClassifier | None
    feature_map: Callable | None
    checksum: int | str

    def compiled(self, data: TransferData) -> keras.Model:
        """Returns the compiled model to train on `data`, TransferData; call under the strategy."""
        model: typing.Any = self.classifier
        if self.feature_map is not None:
            noise.set_first_weights(self.config.seed)
            model = FeatureClassifier(
                data.num_classes,
                data.training.inputs.shape[1:],
                weight_decay=self.config.weight_decay,
                seed=self.config.seed,
                dtype=self.dtype_policy,
            )
            if self.classifier is not None:
                model.head.set_weights(self.classifier.head.get_weights())
        model.compile(
            optimizer=keras.optimizers.SGD(
                keras.optimizers.schedules.ExponentialDecay(
                    self.config.learning_rate,
                    self.config.cut_epochs * data.steps_per_epoch,
                    0.1,
                    staircase=True,
                ),
                momentum=self.config.momentum,
            )
        )
        return model

    def whole(self, trained: keras.Model) -> keras.Model:
        """The model to keep: φ with the trained head; the head alone where φ is a SavedModel."""
        if self.classifier is None or self.feature_map is None:
            return trained
        self.classifier.head.set_weights(trained.head.get_weights())
        return self.classifier

    def parameters(self, trained: keras.Model) -> dict:
        """dict: Table 5's count, None where φ is a SavedModel, and how many are trained."""
        count = sum(weight.shape.num_elements() for weight in trained.trainable_weights)
        return {
            "parameters": self.classifier and self.classifier.parameter_count,
            "trained_parameters": count,
        }


def prepare(
    config: TransferConfig, data: TransferData, dtype_policy: str, strategy: tf.distribute.Strategy
) -> TransferModel:
    """Loads φ and builds the classifier, its variables under `strategy`.

    Args:
        config: TransferConfig, resolved.
        data: TransferData.
        dtype_policy: str.
        strategy: a `tf.distribute.Strategy`.

    Raises:
        InputError: φ cannot be loaded.
    """
    if config.saved_model:
        assert config.channels is not None
        assert config.image_size is not None  # the version says it
        version = exported.version(config.saved_model)
        function, _ = exported.function(
            version, ["feature_map"], config.image_size, config.channels
        )
        return TransferModel(
            config,
            dtype_policy,
            classifier=None,
            feature_map=lambda images: function(images)["feature_map"],
            checksum=exported.digest(version),
        )
    trained = None
    if config.run_dir:
        is_preset = pretrained.known(config.run_dir) is not None
        trained = (
            patchvae_tf.backbone(config.run_dir)
            if is_preset
            else patchvae_tf.load_model(config.run_dir).backbone
        )
    noise.set_first_weights(config.seed)  # the first weights
    with strategy.scope():
        classifier = TransferClassifier(
            data.num_classes,
            config.image_size,
            freeze=config.freeze,
            backbone=config.backbone,
            stride=config.stride,
            channels=config.channels,
            views=Views(crop_side=config.crop_side, color_jitter=config.color_jitter),
            weight_decay=config.weight_decay,
            seed=config.seed,
            dtype=dtype_policy,
        )
        if trained is not None:
            classifier.backbone.set_weights(trained.get_weights())
        elif config.weights:
            resnet18_weights.assign(classifier.backbone, resnet18_weights.read(config.weights))
    checksum = 0
    for weight in classifier.backbone.get_weights():
        checksum = zlib.crc32(weight, checksum)
    feature_map = _feature_map(classifier) if config.freeze == classifier.stages[-1].name else None
    return TransferModel(config, dtype_policy, classifier, feature_map, checksum)


def _feature_map(classifier):
    @tf.function(autograph=False, reduce_retracing=True)
    def feature_map(images):
        images = tf.image.convert_image_dtype(images, tf.float32)
        return tf.cast(classifier.feature_map(images), tf.float32)

    return feature_map
