"""What `benchmarks.growth` measures: each piece of work, and how it is made ready.

Images are made on the fly, small where their number grows, so that what is measured is the cost of
an image and not of its pixels.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable

import numpy as np

_SIDE = 16  # of images where their number grows
_PER_CLASS = 100  # images: classes grow with them
_LINKS = 20_000  # names that one file is given: file systems allow some 65,000
_UNREADABLE_EVERY = 120  # fewer than 1 %, above which there is an error


@dataclasses.dataclass(frozen=True)
class Work:
    """A piece of work that grows.

    Attributes:
        axis: str, what grows.
        sizes: tuple of int.
        ready: function (size, empty folder) -> function that does the work.
        amount: function size -> how much there is to do, in proportion.
    """

    axis: str
    sizes: tuple[int, ...]
    ready: Callable[[int, pathlib.Path], Callable[[], object]]
    amount: Callable[[int], float] = float


def _random_images(count, side):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


def _config(folder, **settings):
    from patchvae_tf.settings import unsupervised_config

    return unsupervised_config(dataset=str(folder), image_size=_SIDE, recipe="paper", **settings)


def _array_file(count, folder):
    path = folder / "images.npz"
    np.savez(path, x_train=_random_images(count, _SIDE), y_train=np.arange(count) // _PER_CLASS)
    return path


def _open_arrays(count, folder):
    from patchvae_tf.unsupervised import images

    path = _array_file(count, folder)
    return lambda: images.load_images(_config(path))


def _image_folder(count, folder, broken_every=None):
    """Makes a folder of images: a few files by many names, in a folder for each class."""
    import tensorflow as tf

    content = tf.io.encode_png(_random_images(1, _SIDE)[0]).numpy()
    (folder / "seeds").mkdir()
    for number in range(0, count, _PER_CLASS):
        place = folder / "images" / f"class {number // _PER_CLASS:06d}"
        place.mkdir(parents=True)
        for index in range(number, min(number + _PER_CLASS, count)):
            is_broken = broken_every and index % broken_every == broken_every - 1
            seed = folder / "seeds" / f"{index // _LINKS}{is_broken}"
            if not seed.exists():
                seed.write_bytes(content[:40] if is_broken else content)
            os.link(seed, place / f"{index:08d}.png")
    return folder / "images"


def _open_folder(count, folder):
    from patchvae_tf.unsupervised import images

    path = _image_folder(count, folder)
    return lambda: images.load_images(_config(path, streamed=True))


def _decode_folder(count, folder):
    from patchvae_tf import datasets

    path = _image_folder(count, folder, _UNREADABLE_EVERY)
    return lambda: datasets.load(str(path), image_size=_SIDE)


def _epoch(count, folder):
    from patchvae_tf import datasets
    from patchvae_tf.datasets import storage

    del folder
    images = storage.allocate((count, _SIDE, _SIDE, 3))

    def one_epoch():
        batches = datasets.training_batches(
            images, batch_size=100, seed=0, flip=True, total_steps=count // 100
        )
        for _ in batches:
            pass

    return one_epoch


def _few_labels(count, folder):
    from patchvae_tf import datasets

    del folder
    labels = np.arange(count) % (count // _PER_CLASS)
    images = datasets.ImageSet(np.zeros((count, 1, 1, 3), np.uint8), labels, None, ("",) * count)
    return lambda: datasets.balanced_subset(images, 10, count // _PER_CLASS, seed=0)


def _model(image_size, **settings):
    import keras

    from patchvae_tf import PatchVAE

    keras.utils.set_random_seed(0)
    return PatchVAE(image_size=image_size, **settings)


def _survey_of(count, image_size, model):
    from patchvae_tf import visualization

    images = _random_images(count, image_size)

    def batches():
        for start in range(0, count, 250):
            rows = slice(start, start + 250)
            labels = np.full(len(images[rows]), -1)
            yield np.arange(count)[rows], images[rows], labels

    return lambda: visualization.survey(model, batches())


def _survey(count, folder):
    del folder
    return _survey_of(count, _SIDE, _model(_SIDE, num_parts=32))


def _survey_of_parts(num_parts, folder):
    del folder
    return _survey_of(500, 32, _model(32, num_parts=num_parts))


def _feature_file(count, folder):
    import itertools

    from patchvae_tf.features import extraction

    path = _array_file(count, folder)
    numbers = itertools.count()  # a finished file is not computed again

    def extract():
        extraction.extract(
            extraction.FeaturesConfig(
                saved_model="parts",
                dataset=str(path),
                image_size=_SIDE,
                output=str(folder / f"features-{next(numbers)}.npz"),
            )
        )

    return extract


def _embed(count, folder):
    import patchvae_tf

    del folder
    images = _random_images(count, _SIDE)
    return lambda: patchvae_tf.embed(images, "parts", image_size=_SIDE)


def _near_duplicates(count, folder):
    from examples import near_duplicates

    del folder
    features = np.random.default_rng(0).normal(size=(count, 128)).astype(np.float32)
    return lambda: near_duplicates.nearest(features, 5, 0.95)


def _step(recipe, image_size, batch_size, **settings):
    """A training step of a recipe."""
    import tensorflow as tf

    from patchvae_tf import models, optimizers
    from patchvae_tf.settings import unsupervised_config

    config = unsupervised_config(
        dataset="cifar100", image_size=image_size, recipe=recipe, **settings
    )
    model = models.from_settings(config)
    model.compile(optimizers.of_settings(config, steps_per_epoch=1000))
    images = tf.constant(_random_images(batch_size, image_size))
    step = tf.function(model.train_step, autograph=False)

    return lambda: step(images)["loss"].numpy()


def _two_views(image_size, batch_size):
    """The part of a step of `agreement` that makes both views of its images."""
    import tensorflow as tf

    from patchvae_tf import noise
    from patchvae_tf.layers.views import RandomViews
    from patchvae_tf.settings import Views, unsupervised_config

    config = unsupervised_config(dataset="cifar100", image_size=image_size, recipe="agreement")
    views = RandomViews(Views.part_of(config))
    images = tf.constant(_random_images(batch_size, image_size))

    @tf.function(autograph=False)
    def both():
        floats = tf.image.convert_image_dtype(images, tf.float32)
        seed = noise.step_seed(0, 0)
        return views.first(floats, seed)[0], views.second(floats, seed)

    return lambda: [view.numpy() for view in both()]


def _contrast(batch_size, folder):
    """The part of a step that grows with the square of the batch: NT-Xent and its gradient."""
    import tensorflow as tf

    from patchvae_tf.objectives import agreement

    del folder
    views = tf.Variable(tf.random.stateless_normal([2, batch_size, 512], [1, 2]))

    @tf.function(autograph=False)
    def gradient():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(agreement.contrast(tf.math.l2_normalize(views, -1), 0.2))
        return tape.gradient(loss, views)

    return lambda: gradient().numpy()


def _discovery(image_size, most_parts, side):
    """Finding parts as at the beginning of a training; `side` is a part's, in pixels."""
    from patchvae_tf import PartObjective, datasets

    objective = PartObjective(teaching_weight=100.0, part_side=side / image_size)
    model = _model(image_size, num_parts=most_parts, occurrence="exclusive", objective=objective)
    images = datasets.load("parts", "test", image_size=image_size).images[:200]
    return lambda: model.begin_from(lambda most: images[:most])


def _draw_scenes(image_size, folder):
    from patchvae_tf.datasets import parts

    del folder
    renderer = parts.SceneRenderer(image_size, 0, "train")
    return lambda: renderer.render(np.arange(64))


def _replicas(count, folder):
    import tensorflow as tf

    from benchmarks import scaling_worker

    del folder
    (processor,) = tf.config.list_physical_devices("CPU")
    if tf.config.get_logical_device_configuration(processor) is None:  # once in a process
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(processor, two)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(count)])
    step = scaling_worker.training_step(strategy, 32, 128)
    return lambda: step().numpy()


def _square(side):
    return float(side) ** 2


_THOUSANDS = (1000, 10_000, 100_000)
_MILLION = (*_THOUSANDS, 1_000_000)
_SIDES = (32, 64, 128, 256)
_PARTS = (8, 32, 128, 256)
_BATCHES = (64, 256, 1024, 2048)


WORKS = {
    "opening an .npz": Work("images", _MILLION, _open_arrays),
    "opening a folder (streamed)": Work("images", _MILLION, _open_folder),
    "decoding a folder, 0.8 % unreadable": Work("images", _THOUSANDS, _decode_folder),
    "an epoch's batches": Work("images", _MILLION, _epoch),
    "drawing few labels": Work("images", _MILLION, _few_labels),
    "the report's survey": Work("images", _THOUSANDS, _survey),
    "patchvae features": Work("images", _THOUSANDS, _feature_file),
    "embed": Work("images", _THOUSANDS, _embed),
    "near_duplicates.py": Work("images", (1000, 4000, 16_000), _near_duplicates),
    "step of agreement, 8 images": Work(
        "image size", _SIDES, lambda side, _: _step("agreement", side, 8), _square
    ),
    "two views of 8 images": Work(
        "image size", _SIDES, lambda side, _: _two_views(side, 8), _square
    ),
    "drawing scenes": Work("image size", _SIDES, _draw_scenes, _square),
    "finding parts of 14 pixels": Work(
        "image size", _SIDES, lambda side, _: _discovery(side, 32, 14), _square
    ),
    "step of agreement, N parts": Work(
        "parts", _PARTS, lambda parts, _: _step("agreement", 32, 64, num_parts=parts)
    ),
    "survey, N parts": Work("parts", _PARTS, _survey_of_parts),
    "step of parts, N parts": Work(
        "parts", (8, 64, 256), lambda parts, _: _step("parts", 32, 32, num_parts=parts)
    ),
    "finding N parts": Work("parts", _PARTS, lambda parts, _: _discovery(64, parts, 14)),
    "step of agreement, batch": Work(
        "images a step", _BATCHES, lambda batch, _: _step("agreement", 32, batch)
    ),
    "NT-Xent alone": Work("images a step", _BATCHES, _contrast),
    "step of paper on replicas": Work("replicas", (1, 2), _replicas),
}
