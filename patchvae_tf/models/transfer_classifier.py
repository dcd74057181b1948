"""The classifier of the supplementary's Table 5: two dense layers on φ, which may be frozen.

Distance from the paper: none known.
"""

import keras
import tensorflow as tf

from patchvae_tf import backbones, noise
from patchvae_tf.errors import InputError
from patchvae_tf.layers import BatchNormalization, RandomViews
from patchvae_tf.models.distributed import DistributedModel, dtype_policy_scope
from patchvae_tf.models.inputs import model_images
from patchvae_tf.settings import Views
from patchvae_tf.settings.architecture import Backbone

_DROPOUT = 0.5
_HIDDEN_UNITS = 512
_TOP = 5


@keras.saving.register_keras_serializable(package="patchvae_tf")
class FeatureClassifier(DistributedModel):
    """The classifier without φ: Flatten, Dropout 0.5, Dense 512, ReLU, Dense.

    It learns from pairs: (inputs, labels int64 [batch]).

    Args:
        num_classes: int, at least 2.
        feature_shape: (rows, cols, channels) of the feature maps.
        weight_decay: float, of every weight that is trained, biases too, as in PyTorch: the loss
            has weight_decay / 2 times their squared sum.
        seed: int, of dropout.
        **kwargs: as of `keras.Model`.

    Call arguments:
        inputs: float32 [batch, rows, cols, channels].
        training: bool, whether batch normalisation uses the batch's moments (where it is trained).
        seed: int32 [2] to drop features out; None (default) drops none.

    Returns, from a call: logits, float32 [batch, num_classes].

    Raises:
        InputError: an argument out of range.
    """

    term_names = ("loss", "cross_entropy", "top1", "top5")

    def __init__(self, num_classes, feature_shape, weight_decay=1e-4, seed=0, **kwargs):
        feature_shape = tuple(feature_shape)
        super().__init__(seed, **kwargs)
        if num_classes < 2:
            raise InputError(f"`num_classes` must be at least 2. Received: {num_classes}")
        self.num_classes = num_classes
        self.feature_shape = feature_shape
        self.weight_decay = weight_decay
        with dtype_policy_scope(self.dtype_policy):
            self.head = keras.Sequential(
                [
                    keras.Input(feature_shape),
                    keras.layers.Flatten(),
                    keras.layers.Dense(_HIDDEN_UNITS, activation="relu", name="hidden"),
                    keras.layers.Dense(num_classes, name="logits"),
                ],
                name="head",
            )
        self.built = True

    def feature_map(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The maps to classify: here the inputs themselves."""
        del training
        return inputs

    def call(
        self, inputs: tf.Tensor, training: bool = False, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        features = self.feature_map(inputs, training=training)  # [batch, rows, cols, channels]
        if seed is not None:
            # As the flattened features', of which each is kept or dropped for itself.
            kept = noise.uniform(tf.shape(features), seed) >= _DROPOUT
            features = tf.where(kept, features / (1.0 - _DROPOUT), tf.zeros_like(features))
        return tf.cast(self.head(features), tf.float32)

    def loss_terms(
        self,
        examples: tuple[tf.Tensor, tf.Tensor],
        step: tf.Tensor,
        seed: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """As of the base class, of `examples`, (inputs, labels int64 [batch]).

        `loss` is `cross_entropy`, in nats, and the weight decay's part; `top1` and `top5` are 1
        where the label is the most likely class, or among the five most likely.
        """
        inputs, labels = examples
        logits = self(inputs, training=training, seed=seed)  # [batch, num_classes]
        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        squares = [tf.reduce_sum(tf.square(weight)) for weight in self.trainable_variables]
        ranks = _ranks(logits, labels)
        return {
            "loss": cross_entropy + 0.5 * self.weight_decay * tf.add_n(squares),
            "cross_entropy": cross_entropy,
            "top1": tf.cast(ranks < 1, tf.float32),
            "top5": tf.cast(ranks < _TOP, tf.float32),
        }

    def _model_input(self, data):
        inputs, labels = data
        if inputs.dtype.is_integer:
            inputs = tf.image.convert_image_dtype(inputs, tf.float32)
        return inputs, labels


@keras.saving.register_keras_serializable(package="patchvae_tf")
class TransferClassifier(FeatureClassifier):
    """Table 5's classifier: φ and two dense layers, φ's first stages frozen.

    Frozen stages run in inference mode: neither weights nor moving statistics move. In the others
    batch normalisation uses the batch's moments in training, and its moving statistics follow; its
    scale and offset stay as they are everywhere (the original's setting).

    Args:
        num_classes: int, at least 2.
        image_size: int, side of the square images in pixels; a multiple of the stride.
        freeze: "none", or the name of the stage of `backbones.stages` up to which φ is frozen.
        backbone: str, one of `backbones.NAMES`.
        stride: int, of the backbone, one of `backbones.strides`; None for its default.
        channels: int, of the images.
        views: settings.Views, or the same as a dict: what training sees of an image; None for the
            image itself, as in the paper.
        weight_decay, seed, **kwargs: as of `FeatureClassifier`.

    Call arguments and result: as of `FeatureClassifier`; the inputs are images, float32
    [batch, image_size, image_size, channels] in [0, 1].

    Raises:
        InputError: an argument out of range.
    """

    def __init__(
        self,
        num_classes,
        image_size=32,
        freeze="none",
        weight_decay=1e-4,
        backbone="resnet9",
        stride=None,
        channels=3,
        views=None,
        seed=0,
        **kwargs,
    ):
        stride = backbones.checked_stride(backbone, stride)
        stages = {stage.name: stage for stage in backbones.stages(backbone, stride)}
        if freeze not in ("none", *stages):
            raise InputError(
                f"`freeze` must be one of none, {', '.join(stages)}. Received: {freeze}"
            )
        Backbone(image_size, channels, backbone, stride)  # checks them
        *_, last = stages.values()
        shape = (image_size // stride, image_size // stride, last.channels)
        super().__init__(num_classes, shape, weight_decay, seed, **kwargs)
        self.image_size = image_size
        self.freeze = freeze
        self.backbone_name = backbone
        self.stride = stride
        self.channels = channels
        self.views = Views.of(views)
        self.views.check_size(image_size)
        self.random_views = RandomViews(self.views)
        with dtype_policy_scope(self.dtype_policy):
            self.backbone = backbones.build(backbone, stride, channels)
        frozen = ()
        if freeze != "none":
            end = self.backbone.get_layer(stages[freeze].layer)
            frozen = keras.Model(self.backbone.input, end.output).layers  # all that it depends on
        for layer in self.backbone.layers:
            layer.trainable = layer not in frozen
            if isinstance(layer, BatchNormalization):
                layer.gamma.trainable = layer.beta.trainable = False

    def loss_terms(self, examples, step, seed=None, training=False):
        images, labels = examples
        seen, _ = self.random_views.first(images, seed)
        # Other colours may lie beyond what an image can hold.
        return super().loss_terms((tf.clip_by_value(seen, 0.0, 1.0), labels), step, seed, training)

    def feature_map(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """φ's maps of images, [batch, image_size / stride, image_size / stride, c]."""
        inputs = model_images(inputs, self.stride, self.channels, self.image_size)
        return self.backbone(inputs, training=training)

    @property
    def stages(self) -> tuple[backbones.Stage, ...]:
        """The `backbones.Stage`s of φ, in order."""
        return backbones.stages(self.backbone_name, self.stride)

    @property
    def parameter_count(self) -> int:
        """The number of Table 5: all weights, frozen or not, but no moving statistics."""
        statistics = {
            id(statistic)
            for layer in self.backbone.layers
            if isinstance(layer, BatchNormalization)
            for statistic in (layer.moving_mean, layer.moving_variance)
        }
        counted = [weight for weight in self.weights if id(weight) not in statistics]
        return sum(weight.shape.num_elements() for weight in counted)


def _ranks(logits, labels):
    """How many classes come before the label, int64 [batch].

    Of equal logits the first class comes first: a network that gives all classes the same is right
    no more often than by chance.
    """
    own = tf.gather(logits, labels, batch_dims=1)[:, tf.newaxis]  # [batch, 1]
    earlier = tf.range(tf.shape(logits)[1], dtype=labels.dtype) < labels[:, tf.newaxis]
    before = (logits > own) | ((logits == own) & earlier)  # [batch, num_classes]
    # Sums of int32 are taken on the host, where a GPU would have to bring the whole array.
    return tf.reduce_sum(tf.cast(before, tf.int64), axis=1)
