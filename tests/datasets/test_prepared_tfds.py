import numpy as np
import pytest
import tensorflow_datasets as tfds

from patchvae_tf import datasets
from patchvae_tf.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 9, 9, 3), dtype=np.uint8)


def prepare(folder, name, features, examples, config="", version="1.2.0", **kwargs):
    """Prepares a data set whose code nobody can find afterwards."""
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version=version,
        config=config or None,
        data_dir=folder,
        features=tfds.features.FeaturesDict(features),
        split_datasets={split: list(enumerate(rows)) for split, rows in examples.items()},
        disable_shuffling=True,
        **kwargs,
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    image = tfds.features.Image(shape=(None, None, 3))
    coarse = tfds.features.ClassLabel(num_classes=3)
    fine = tfds.features.ClassLabel(names=["a", "b", "c", "d"])
    rows = [
        {"a_label": i % 3, "image": PIXELS[i], "label": i % 4, "other_image": PIXELS[i] * 0}
        for i in range(12)
    ]
    prepare(
        folder,
        "tiny_things",
        {"a_label": coarse, "image": image, "label": fine, "other_image": image},
        {"train": rows[:8], "validation": rows[8:]},
    )
    prepare(
        folder,
        "unlabelled",
        {"picture": tfds.features.Image(shape=(9, 9, 1))},
        {"train": [{"picture": pixels[..., :1]} for pixels in PIXELS]},
        config="grey",
    )
    prepare(
        folder, "no_images", {"x": tfds.features.Scalar(np.int64)}, {"train": [{"x": 1}, {"x": 2}]}
    )
    return folder


@pytest.fixture
def load(data_dir, no_network):
    def load_offline(dataset, split="train", image_size=9):
        return datasets.load(dataset, split, image_size=image_size, data_dir=str(data_dir))

    return load_offline


@pytest.mark.parametrize("name", ["tiny_things", "tiny_things:1.2.0", "tiny_things:1.*.*"])
def test_prepared_data_set_is_read_without_its_code(load, name):
    loaded = load(name)
    np.testing.assert_array_equal(loaded.images, PIXELS[:8])
    np.testing.assert_array_equal(loaded.labels, np.arange(8) % 4)
    assert loaded.class_names == ("a", "b", "c", "d")
    assert loaded.keys == tuple(f"train/{index}" for index in range(8))


def test_split_may_be_sliced(load):
    loaded = load("tiny_things", "validation[1:3]")
    np.testing.assert_array_equal(loaded.images, PIXELS[9:11])


def test_images_are_resized_like_all_others(load):
    expected = datasets.resize_and_crop(PIXELS[:8], 8)
    np.testing.assert_array_equal(load("tiny_things", image_size=8).images, expected)


def test_data_set_with_a_config_and_without_labels(load):
    loaded = load("unlabelled/grey")
    np.testing.assert_array_equal(loaded.images, np.repeat(PIXELS[..., :1], 3, axis=-1))
    assert (loaded.labels, loaded.class_names) == (None, None)


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("tiny_things", "test", "no split 'test': it has train, validation"),
        ("tiny_things:9.9.9", "train", r"not prepared in .* \(which has 1\.2\.0 of it\)"),
        ("no_images", "train", "no feature of 8-bit or 16-bit images, nor a tensor .*, only x"),
        ("cifar10", "train", r"not prepared in .*`tfds build cifar10 --data_dir=.*` on a machine"),
        ("imagenet_resized/32x32", "train", "`tfds build imagenet_resized/32x32 --data_dir="),
        ("cifr10", "train", "did you mean cifar10"),
        ("tiny_thing", "train", "did you mean tiny_things"),
        ("part", "train", "did you mean parts"),
        ("qqqqqq", "train", "give `parts`, a path or a TFDS name"),
    ],
)
def test_what_is_not_there_raises_offline(load, name, split, message):
    with pytest.raises(InputError, match=message) as error:
        load(name, split)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncated", "of 4 images cannot be read"),
        ("missing", r"00000-of-00001' of 'tiny_things' is missing or not readable"),
    ],
)
def test_damaged_records_raise(load, data_dir, damage, message):
    (record,) = (data_dir / "tiny_things" / "1.2.0").glob("*validation*")
    whole = record.read_bytes()
    try:
        if damage == "truncated":
            record.write_bytes(whole[: len(whole) // 2])
        else:
            record.unlink()
        with pytest.raises(InputError, match=message):
            load("tiny_things", "validation")
    finally:
        record.write_bytes(whole)


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_tfrecord_and_array_record_hold_the_same_images(file_format, tmp_path, no_network):
    features = {
        "image": tfds.features.Image(shape=(9, 9, 3)),
        "label": tfds.features.ClassLabel(num_classes=4),
    }
    rows = [{"image": pixels, "label": i % 4} for i, pixels in enumerate(PIXELS)]
    prepare(tmp_path, "formats", features, {"train": rows}, file_format=file_format)
    images = datasets.load("formats", image_size=9, data_dir=str(tmp_path))
    np.testing.assert_array_equal(images.images, PIXELS)
    np.testing.assert_array_equal(images.labels, np.arange(12) % 4)
    part = datasets.load("formats", "train[25%:75%]", image_size=9, data_dir=str(tmp_path))
    np.testing.assert_array_equal(part.images, PIXELS[3:9])
    stream = datasets.stream("formats", image_size=9, data_dir=str(tmp_path))
    indices, late, _ = next(stream.batches(4, 7))  # from the eighth on
    np.testing.assert_array_equal(indices, [7, 8, 9, 10])
    np.testing.assert_array_equal(late, PIXELS[7:11])
    np.testing.assert_array_equal(stream.take(np.array([9, 2])), PIXELS[[9, 2]])


def test_cifar100(test_data, no_network):
    version = test_data("tfds/cifar100/3.0.2")
    builder = tfds.builder_from_directory(version)
    first = next(iter(builder.as_dataset("test").as_numpy_iterator()))
    loaded = datasets.load("cifar100", "test", image_size=32, data_dir=str(version.parents[1]))
    assert loaded.images.shape == (10_000, 32, 32, 3)
    np.testing.assert_array_equal(loaded.images[0], first["image"])
    assert loaded.labels[0] == first["label"]
    assert (len(loaded.class_names), loaded.class_names[0]) == (100, "apple")
    np.testing.assert_array_equal(np.bincount(loaded.labels), np.full(100, 100))
