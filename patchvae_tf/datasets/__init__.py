"""Image sources, all read into one `ImageSet`, and the batches made from it."""

from patchvae_tf.datasets.decoding import EncodedExamples, decode_examples
from patchvae_tf.datasets.images import ImageSet, checksum, split_validation, validation_count
from patchvae_tf.datasets.loading import cached_loading, load, stream
from patchvae_tf.datasets.parts import CLASS_PARTS, PART_NAMES
from patchvae_tf.datasets.pipeline import evaluation_batches, steps_per_epoch, training_batches
from patchvae_tf.datasets.preprocessing import decode_image, resize_and_crop
from patchvae_tf.datasets.splits import test_split, unsupervised_split
from patchvae_tf.datasets.stream import stream_arrays, stream_files
from patchvae_tf.datasets.streamed import StreamedSet, streamed_split
from patchvae_tf.datasets.subsets import balanced_subset

__all__ = [
    "CLASS_PARTS",
    "PART_NAMES",
    "EncodedExamples",
    "ImageSet",
    "StreamedSet",
    "balanced_subset",
    "cached_loading",
    "checksum",
    "decode_examples",
    "decode_image",
    "evaluation_batches",
    "load",
    "resize_and_crop",
    "split_validation",
    "steps_per_epoch",
    "stream",
    "stream_arrays",
    "stream_files",
    "streamed_split",
    "test_split",
    "training_batches",
    "unsupervised_split",
    "validation_count",
]
