"""What the commands and `embed` share: a graph, and the batches that go through it."""

import typing
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from patchvae_tf.features import pooling
from patchvae_tf.features.sources import Source
from patchvae_tf.saved_models import loaded
from patchvae_tf.settings import setting

if typing.TYPE_CHECKING:
    from patchvae_tf.datasets.stream import ImageStream

_BATCH_PIXELS = 2**20  # enough to keep the processor busy
FEATURES = "features"  # the output that pooling makes


def image_size_setting() -> typing.Any:
    """The setting `image_size` of the commands that compute features."""
    return setting(
        None,
        "Model",
        "side in pixels to which images are brought, a multiple of the backbone's stride (default: "
        "the trained one)",
        minimum=4,
    )


def output_names(outputs: str) -> tuple[str, ...]:
    """The names between commas, each once, in the order given."""
    names = [name.strip() for name in outputs.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))


def checked_size(image_size: int | None, source: Source) -> int:
    """As `saved_models.loaded.checked_size`, of a source."""
    facts = {"image_size": source.image_size, "stride": source.stride}
    return loaded.checked_size(image_size, facts, source.title)


def batch_size_of(image_size: int) -> int:
    """How many images are computed at once, where nobody says it."""
    return max(16, min(256, _BATCH_PIXELS // image_size**2))


def function(
    source: Source, names: Sequence[str], how: pooling.Pooling, image_size: int
) -> tuple[Callable, dict[str, tuple[int, ...]]]:
    """Loads a model, for uint8 images of one size.

    Args:
        source: Source.
        names: which outputs are wanted; `features` are made as `how` says.
        how: Pooling.
        image_size: int, pixels.

    Returns:
        (function, shapes), as of `saved_models.loaded.of_images`.

    Raises:
        InputError: the model cannot be read, or has no such output.
    """
    made_of = how.made_of(source) if FEATURES in names else ()
    kept = [name for name in names if name != FEATURES]
    model = source.load()
    answer = loaded.answering(model, list(dict.fromkeys([*kept, *made_of])), source.title)
    answer_crop = loaded.answering(model, made_of, source.title)
    boxes = pooling.boxes(how.crops)

    def outputs(images):
        answers = answer(images)
        if made_of:
            vector = how.vector([answers[name] for name in made_of])
            for number, box in enumerate(boxes):
                cropped = answer_crop(pooling.crop(images, box, mirrored=number % 2 == 0))
                vector += how.vector([cropped[name] for name in made_of])
            answers[FEATURES] = vector / how.crops if len(boxes) else vector
        return {name: answers[name] for name in names}

    return loaded.of_images(outputs, image_size, source.channels)


def rows(
    compute: Callable, stream: "ImageStream", batch_size: int, begin: int = 0
) -> Iterator[dict[str, np.ndarray]]:
    """Yields columns, batch by batch: `index`, `key`, `label` and the outputs.

    Args:
        compute: as `function` returns it.
        stream: datasets' ImageStream.
        batch_size: int.
        begin: int, the first example.
    """
    for indices, images, labels in stream.batches(batch_size, begin):
        found = {name: tensor.numpy() for name, tensor in compute(images).items()}
        keys = np.array([stream.key(index) for index in indices])
        yield {"index": indices, "key": keys, "label": labels, **found}
