"""PatchVAE's terms beside the reconstruction: a row of `TERMS` each.

To add one: its formula in `losses` (or here), its row in `TERMS`, and its weight, a line in
`settings.objectives.PartObjective`. It is then a flag, a field of `config.json`, an argument of
`PartObjective`, a running mean and a curve.
"""

import dataclasses
import typing
from collections.abc import Callable

import keras
import tensorflow as tf

from patchvae_tf import losses
from patchvae_tf.objectives.agreement import ViewAgreement, places
from patchvae_tf.parts import templates
from patchvae_tf.parts.teacher import PartTeacher
from patchvae_tf.settings import PartObjective

_MOST_FIELDS = 4  # a side: more of a large map would make most weights the comparison's


@dataclasses.dataclass(frozen=True)
class Batch:
    """What a term is made from.

    Attributes:
        images: float32 [batch, H, W, channels] in [0, 1], whole.
        target: float32 [batch, H, W, channels] in [0, 1], what is to be rebuilt of them.
        outputs: `PatchVAE.call`'s dict, of what training sees of it.
        other_codes: `PatchVAE.encode`'s dict, of another view of the same images; None where there
            is none.
        training: bool, whether batch normalisation uses the batch's moments.
        step: scalar int64, finished training steps.
        seed: int32 [2], of the views; None where nothing is random.
    """

    images: tf.Tensor
    target: tf.Tensor
    outputs: dict
    other_codes: dict | None
    training: bool
    step: tf.Tensor
    seed: tf.Tensor | None


@dataclasses.dataclass(frozen=True)
class Term:
    """A term of the loss.

    Attributes:
        name: of its running mean.
        weight: the setting that it is multiplied by in the loss; without it the term is not
            computed, unless it is `always`.
        value: function (model, Batch) -> float32 [batch].
        sign: -1 where training raises it.
        always: whether it is computed, and shown, with a weight of 0 too.
        layer: function (model) -> the layer that it needs, which serves training alone; the model
            keeps it under the term's name.
        needs_other_view: whether it compares two views.
        begin: function (model, images, progress) that looks at images before the first step, and
            returns how many parts it found in them.
    """

    name: str
    weight: str
    value: Callable[[typing.Any, Batch], tf.Tensor]
    sign: int = 1
    always: bool = False
    layer: Callable[[typing.Any], keras.layers.Layer] | None = None
    needs_other_view: bool = False
    begin: Callable[[typing.Any, typing.Any, bool], int] | None = None


def _occurrence_kl(model, batch):
    logits = batch.outputs["occurrence_logits"]
    if model.occurrence == "categorical":
        return losses.categorical_kl(logits)
    if model.occurrence == "exclusive":
        return losses.exclusive_kl(logits)
    return losses.bernoulli_kl(logits, model.occurrence_prior)


def _appearance_kl(model, batch):
    del model
    return losses.gaussian_kl(
        batch.outputs["appearance_mean"], batch.outputs["appearance_variance"]
    )


def _part_reconstruction(model, batch):
    del model
    images = batch.outputs["part_reconstructions"]
    return losses.part_squared_error(batch.target, images, batch.outputs["occurrence"])


def _entropy_across(model, batch):
    del model
    return losses.entropy_across_images(batch.outputs["occurrence"])


def _entropy_within(model, batch):
    del model
    return losses.entropy_within_images(batch.outputs["occurrence"])


def _agreement(model, batch):
    return _agreed(model.agreement, batch, lambda codes: _summary(model, codes))


def _map_agreement(model, batch):
    side = _map_side(model)
    return _agreed(model.map_agreement, batch, lambda codes: places(codes["features"], side))


def _agreed(layer, batch, code):
    """How hard two views are to tell, by `code` of their codes, [batch]; 0 of one view."""
    if batch.other_codes is None:
        return tf.zeros(tf.shape(batch.target)[:1])
    first, second = code(batch.outputs), code(batch.other_codes)
    return layer(first, second, training=batch.training)


def _summary(model, codes):
    """A code of the whole image, [batch, d]: how each part looks, and how much it occurs."""
    looks = tf.reshape(codes["appearance_mean"], [tf.shape(codes["appearance_mean"])[0], -1])
    summary = tf.concat([looks, tf.reduce_mean(codes["occurrence_logits"], axis=[1, 2])], axis=1)
    return tf.ensure_shape(summary, [None, model.num_parts * (1 + model.appearance_dim)])


def _map_side(model):
    """Fields a side in which φ's maps of two views are compared."""
    places_a_side = model.views.view_size(model.image_size, model.stride) // model.stride
    return min(_MOST_FIELDS, places_a_side)


def _agreement_layer(model):
    return _view_agreement(model, model.num_parts * (1 + model.appearance_dim))


def _map_agreement_layer(model):
    return _view_agreement(model, _map_side(model) ** 2 * model.backbone.output_shape[-1])


def _view_agreement(model, size):
    """The layer that compares codes of `size` numbers."""
    layer = ViewAgreement(
        width=model.objective.agreement_width,
        temperature=model.objective.agreement_temperature,
        dtype=model.dtype_policy,
    )
    layer.build((None, size), (None, size))
    return layer


def _teaching(model, batch):
    logits = batch.outputs["occurrence_logits"]
    teacher, views = model.teaching, model.random_views
    is_own = batch.step >= model.objective.template_steps
    if batch.training:
        teacher.follow(model.backbone, model.occurrence_head, is_own)
    # Of whole images: what a view shows at a place is what they show where that place is from.
    shares = tf.cond(
        is_own,
        lambda: teacher.own_maps(batch.images),
        lambda: teacher(batch.images, tf.shape(logits)[1:3]),
    )
    if batch.training:
        teacher.balance(shares, is_own)
    moved = tf.stop_gradient(views.moved(shares, batch.seed))
    counts = views.within(shares, batch.seed)
    return losses.teaching_cross_entropy(logits, moved, teacher.is_taught, counts)


def _teaching_layer(model):
    # As many pixels a place that a part's window is as large as a template.
    part_side = model.objective.part_side * model.image_size
    steps = max(1, round(templates.SIDE * model.stride / part_side / templates.STEP))
    scaled_per_place = steps * templates.STEP
    layer = PartTeacher(
        model.num_parts, scaled_per_place, model.backbone_name, model.stride, model.channels
    )
    layer.build()
    return layer


def _find_parts(model, images, progress):
    side = model.image_size // model.stride
    teacher = model.teaching
    teacher.follow(model.backbone, model.occurrence_head, tf.constant(False))
    return teacher.discover(images, (side, side), model.seed, progress)


# Nats per image, before their weights, but for `part_reconstruction`, a squared error.
TERMS = (
    Term("kl_occurrence", "occurrence_weight", _occurrence_kl, always=True),
    Term("kl_appearance", "appearance_weight", _appearance_kl, always=True),
    Term("part_reconstruction", "part_reconstruction_weight", _part_reconstruction),
    Term("entropy_across", "entropy_across_weight", _entropy_across, sign=-1),
    Term("entropy_within", "entropy_within_weight", _entropy_within, sign=-1),
    Term(
        "agreement",
        "agreement_weight",
        _agreement,
        layer=_agreement_layer,
        needs_other_view=True,
    ),
    Term(
        "map_agreement",
        "map_agreement_weight",
        _map_agreement,
        layer=_map_agreement_layer,
        needs_other_view=True,
    ),
    Term("teaching", "teaching_weight", _teaching, layer=_teaching_layer, begin=_find_parts),
)


def active_terms(objective: PartObjective) -> list[Term]:
    """The terms that an objective computes, in order."""
    return [term for term in TERMS if term.always or getattr(objective, term.weight)]


def total(reconstruction: tf.Tensor, objective: PartObjective, values: dict) -> tf.Tensor:
    """The loss: the reconstruction's part, and the terms times their weights.

    Args:
        reconstruction: float32 [batch].
        objective: PartObjective.
        values: dict name -> float32 [batch], of `active_terms`.
    """
    loss = reconstruction
    for term in active_terms(objective):
        loss += term.sign * getattr(objective, term.weight) * values[term.name]
    return loss
