"""TFDS data sets that are prepared on this machine; nothing here downloads."""

import difflib
import functools
import os
import pathlib
import re

import numpy as np

from patchvae_tf.datasets import conversion, decoding, record_files
from patchvae_tf.datasets.preprocessing import check_encoded, decode_image
from patchvae_tf.errors import InputError
from patchvae_tf.settings.pixels import Pixels

_OURS = ("indoor67", "places205")  # modules beside this one
_RECORDS = 256  # of an array_record file that are read by one call

# TFDS is imported inside the functions: the other sources need not wait for it.


def is_tfds_name(dataset: str, data_dir: str | None) -> bool:
    """Whether the name part of `name/config:version` is known to TFDS or lies in `data_dir`."""
    name = _bare_name(dataset)
    return name.isidentifier() and (
        name in _registered_names() or (_data_dir(data_dir) / name).is_dir()
    )


def tfds_examples(
    dataset: str, split: str, pixels: Pixels, *, data_dir: str | None
) -> decoding.EncodedExamples:
    """Opens a prepared TFDS data set from its files, also one whose code TFDS does not know.

    The images are those of the feature `image`, else of the first image feature, else of the first
    tensor [height, width, channels]; the labels those of `label`, else of the first class label.

    Args:
        dataset: str, `name`, `name/config`, `name:version` or `name/config:version`.
        split: str, also in TFDS's slicing notation ("train[:10%]").
        pixels: Pixels that are wanted.
        data_dir: str, or None for TFDS's own default.

    Returns:
        `EncodedExamples`; keys are the split and the position in it.

    Raises:
        InputError: if the data set, the split or an image feature is missing.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    try:
        builder = tfds.core.read_only_builder.builder_from_files(
            dataset, data_dir=str(_data_dir(data_dir))
        )
    except (ValueError, tfds.core.DatasetNotFoundError) as error:
        raise InputError(_not_found_message(dataset, data_dir)) from error
    splits = builder.info.splits
    try:
        count = splits[split].num_examples
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{dataset!r} has no split {split!r}: it has {', '.join(sorted(splits))}."
        ) from error
    instructions = splits[split].file_instructions
    for record_file in instructions:
        if not os.access(record_file.filename, os.R_OK):
            raise InputError(
                f"{record_file.filename!r} of {dataset!r} is missing or not readable: copy it "
                "there, or prepare the data set again."
            )
    features = dict(builder.info.features.items())
    image_key, is_encoded = _image_feature(features, dataset)
    if is_encoded:
        check_encoded(pixels)
    else:
        _check_tensor(features[image_key], pixels, f"{image_key} of {dataset!r}")
    label_key = _first_feature(features, "label", tfds.features.ClassLabel)
    wanted = tfds.decode.PartialDecoding(
        {key: True for key in (image_key, label_key) if key},
        decoders={image_key: tfds.decode.SkipDecoding()} if is_encoded else None,
    )
    parsed = wanted.extract_features(builder.info.features)

    def read(index, record):
        del index
        example = parsed.deserialize_example(record, decoders=wanted.decoders)
        label = example.get(label_key, tf.constant(decoding.NO_LABEL, tf.int64))
        return example[image_key], label

    def decode(found):
        return decode_image(found, pixels) if is_encoded else conversion.converted(found, pixels)

    is_array_record = builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD
    if is_array_record:
        access = _array_records(builder, split, count)
    else:
        shards = tuple(record_files.Shard(one.filename, one.skip, one.take) for one in instructions)
        access = {"open": functools.partial(record_files.records, shards), "shards": shards}
    return decoding.EncodedExamples(
        count=count,
        key=lambda index: f"{split}/{index}",
        read=read,
        decode=decode,
        channels=pixels.channels,
        labelled=label_key is not None,
        class_names=tuple(features[label_key].names) if label_key else None,
        **access,
    )


def _array_records(builder, split, count):
    """`open` and `pick` for array_record files, which TFDS gives no `tf.data.Dataset` of.

    Reading is Python's, many at a time; any example may be the next at no cost.
    """
    import tensorflow as tf

    records = builder.as_data_source(split).data_source

    def read(indices):
        return np.array(records.__getitems__(indices.tolist()), object)

    def pick(indices):
        picked = tf.numpy_function(read, [indices], tf.string)
        return tf.ensure_shape(picked, indices.shape)

    def examples(start):
        return tf.data.Dataset.range(start, count).batch(_RECORDS).map(pick).unbatch()

    return {"open": examples, "pick": pick, "needs_python": True}


def _image_feature(features, dataset):
    """(name, whether it holds encoded images) of the feature that the images are taken from."""
    import tensorflow_datasets as tfds

    key = _first_feature(features, "image", tfds.features.Image)
    if key is not None and features[key].np_dtype in (np.uint8, np.uint16):
        return key, True
    tensors = {
        name: feature
        for name, feature in features.items()
        if len(feature.shape) == 3
        and feature.shape[-1]
        and np.dtype(feature.np_dtype).kind in "uif"
    }
    key = _first_feature(tensors, "image", tfds.features.Tensor)
    if key is None:
        raise InputError(
            f"{dataset!r} has no feature of 8-bit or 16-bit images, nor a tensor [height, width, "
            f"channels], only {', '.join(sorted(features))}: choose a data set of images."
        )
    return key, False


def _check_tensor(feature, pixels, where):
    conversion.check_channels(feature.shape[-1], pixels, where)
    if pixels.value_range is None and feature.np_dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"{where} holds {np.dtype(feature.np_dtype).name}: say by value_range=LOW,HIGH which "
            "values become 0 and 1."
        )


def _first_feature(features, preferred, kind):
    keys = sorted(features, key=lambda key: key != preferred)  # Stable: the preferred one first.
    # Not sub-classes: a segmentation mask is a labelled image.
    return next((key for key in keys if type(features[key]) is kind), None)


def _not_found_message(dataset, data_dir):
    name, folder = _bare_name(dataset), _data_dir(data_dir)
    prepared = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if name in _OURS or name in _registered_names() or name in prepared:
        how = f"run `tfds build {dataset} --data_dir={folder}` on a machine with a network"
        if name in _OURS:
            how = (
                f"run `python -m trainers.prepare --dataset={name} --manual_dir=FOLDER "
                f"--data_dir={folder}`"
            )
        below = folder / name
        found = sorted(path.name for path in below.iterdir()) if below.is_dir() else []
        there = f" (which has {', '.join(found)} of it)" if found else ""
        return (
            f"{dataset!r} is not prepared in {str(folder)!r}{there}: {how}, or pass the data_dir "
            "that holds it."
        )
    near = difflib.get_close_matches(name, {"parts", *_OURS, *prepared, *_registered_names()}, n=3)
    offer = f"did you mean {' or '.join(near)}?" if near else "give `parts`, a path or a TFDS name."
    return (
        f"{dataset!r} is neither a path nor a data set known to TFDS or in {str(folder)!r}: {offer}"
    )


def _bare_name(dataset):
    return re.split("[/:]", dataset, maxsplit=1)[0]


def _data_dir(data_dir):
    import tensorflow_datasets as tfds

    return pathlib.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()


def _registered_names():
    import tensorflow_datasets as tfds

    return tfds.list_builders(with_community_datasets=False)
