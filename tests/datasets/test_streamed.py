import os
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from patchvae_tf import datasets
from patchvae_tf.errors import InputError
from tests.datasets.test_pipeline import indices_of, numbered_images
from tests.datasets.test_prepared_tfds import prepare

COUNT = 90
IMAGES = numbered_images(COUNT)


def write_records(folder, file_format="tfrecord", shards=4):
    """A prepared data set of `IMAGES`, in so many files."""
    features = {"image": tfds.features.Image(shape=(8, 8, 3))}
    prepare(
        folder,
        "numbered",
        features,
        {"train": [{"image": pixels} for pixels in IMAGES]},
        file_format=file_format,
        download_config=tfds.download.DownloadConfig(num_shards=shards),
    )
    paths = sorted(pathlib.Path(folder, "numbered").glob(f"*/*.{file_format}*"))
    assert len(paths) == shards
    return paths


def opened(folder, held_out=0, window=32, dataset="numbered"):
    """The training and the validation part."""
    examples = datasets.load(dataset, image_size=8, data_dir=str(folder), most_bytes=1)
    assert isinstance(examples, datasets.EncodedExamples)
    return datasets.streamed_split(examples, held_out, image_size=8, shuffle_window=window, seed=3)


def batches_of(training, **options):
    arguments = {"batch_size": 8, "seed": 5, "flip": True, "total_steps": 25, **options}
    return np.stack(list(training.batches(**arguments).as_numpy_iterator()))


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    write_records(folder)
    return folder


@pytest.fixture
def image_folder(tmp_path):
    import tensorflow as tf

    for index, pixels in enumerate(IMAGES):
        tf.io.write_file(str(tmp_path / f"{index:03}.png"), tf.io.encode_png(pixels))
    return tmp_path


def _assert_as_decoded(dataset, data_dir=None):
    """Streamed images come in the batches that they would come in if they were decoded before."""
    options = {"image_size": 8, "data_dir": data_dir}
    decoded = datasets.load(dataset, **options)
    kept, held_out = datasets.split_validation(decoded, 10, seed=3)
    training, validation = opened(data_dir, held_out=10, dataset=dataset)
    np.testing.assert_array_equal(validation.images, held_out.images)
    assert (len(training), validation.keys) == (80, held_out.keys)
    arguments = {"batch_size": 8, "seed": 5, "flip": True, "total_steps": 25, "start_step": 3}
    expected = datasets.training_batches(kept.images, **arguments)
    np.testing.assert_array_equal(
        batches_of(training, start_step=3), list(expected.as_numpy_iterator())
    )
    sample = training.sample(20, seed=4)
    assert sample.keys == kept.sample(20, seed=4).keys
    assert len(set(sample.keys)) == 20
    assert not set(sample.keys) & set(held_out.keys)
    np.testing.assert_array_equal(sample.images, kept.sample(20, seed=4).images)


def test_a_folder_comes_in_the_order_of_decoded_images(image_folder):
    _assert_as_decoded(str(image_folder))


def test_array_records_come_in_the_order_of_decoded_images(tmp_path, no_network):
    write_records(tmp_path, "array_record")
    _assert_as_decoded("numbered", str(tmp_path))


@pytest.mark.parametrize("held_out", [0, 10])
@pytest.mark.parametrize("batch_size", [8, 5])  # in 4 lanes, in 1
def test_each_epoch_of_record_files_has_all_but_the_remainder_once(held_out, batch_size, records):
    training, validation = opened(records, held_out)
    kept = set(range(COUNT))
    if held_out:
        kept -= set(indices_of(validation.images).tolist())
    assert (len(training), len(kept)) == (COUNT - held_out, COUNT - held_out)
    steps = len(training) // batch_size
    batches = batches_of(training, batch_size=batch_size, total_steps=3 * steps, flip=False)
    np.testing.assert_array_equal(batches, IMAGES[indices_of(batches)])
    epochs = indices_of(batches).reshape(3, steps * batch_size)
    for epoch in epochs:
        assert len(set(epoch)) == len(epoch)
        assert set(epoch) <= kept
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_record_files_are_shuffled_within_a_window_and_by_files(records):
    training, _ = opened(records, window=16)
    epoch = indices_of(batches_of(training, batch_size=8, total_steps=11, flip=False))
    lanes = epoch.reshape(11, 4, 2).transpose(1, 0, 2).reshape(4, 22)
    for lane, rows in zip(lanes, np.array_split(np.arange(COUNT), 4), strict=True):
        assert set(lane) <= set(range(rows[0] - 1, rows[-1] + 2))  # 90 is no multiple of 4
        assert (np.diff(lane) < 0).any()
        windows = [set(lane[start : start + 4]) for start in range(0, 20, 4)]
        assert all(max(window) - min(window) <= 30 for window in windows)
    other = indices_of(batches_of(training, seed=6, total_steps=11, flip=False))
    assert (epoch != other).any()


@pytest.mark.parametrize("start_step", [1, 11, 13])
def test_starting_later_gives_the_tail(start_step, records):
    training, _ = opened(records, held_out=1)
    whole = batches_of(training)
    tail = batches_of(training, start_step=start_step)
    np.testing.assert_array_equal(tail, whole[start_step:])


@pytest.mark.parametrize("shards", [1, 3, 4])
def test_workers_together_read_the_global_batches(shards, tmp_path, no_network):
    write_records(tmp_path, shards=shards)
    training, _ = opened(tmp_path)
    whole = batches_of(training)
    parts = [
        batches_of(training, rows=range(first, first + 2), start_step=4) for first in (0, 2, 4, 6)
    ]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole[4:])


def test_a_worker_reads_its_own_files_only(tmp_path, no_network):
    paths = write_records(tmp_path, shards=2)
    training, _ = opened(tmp_path)
    whole = batches_of(training, total_steps=30)
    os.remove(paths[1])
    first = batches_of(training, total_steps=30, rows=range(4))
    np.testing.assert_array_equal(first, whole[:, :4])
    assert training.unreadable.keys == []


def test_unreadable_images_are_noted_and_others_of_the_batch_take_their_place(image_folder, caplog):
    training, _ = opened(None, dataset=str(image_folder))
    whole = batches_of(training, flip=False, total_steps=11)
    assert training.unreadable.keys == []
    (gone,) = set(range(COUNT)) & {int(indices_of(whole[2])[5])}
    (image_folder / f"{gone:03}.png").write_bytes(b"\x89PNG cut short")
    with pytest.raises(Exception, match=f"1 of 90 images cannot be read .'{gone:03}.png'"):
        batches_of(training, flip=False, total_steps=11)
    assert isinstance(training.unreadable.error, InputError)  # 1 of 90 is more than 1 %
    assert training.unreadable.keys == [f"{gone:03}.png"]
    assert f"'{gone:03}.png' cannot be read: another image of its batch" in caplog.text


def test_a_sample_leaves_out_what_cannot_be_read(image_folder):
    training, _ = opened(None, dataset=str(image_folder))
    whole = training.sample(8, seed=4)
    (image_folder / whole.keys[3]).write_bytes(b"\x89PNG cut short")
    left = training.sample(8, seed=4)
    assert (left.keys, left.skipped) == (whole.keys[:3] + whole.keys[4:], whole.keys[3:4])
    np.testing.assert_array_equal(left.images, np.delete(whole.images, 3, axis=0))
    for key in whole.keys:
        (image_folder / key).write_bytes(b"\x89PNG cut short")
    with pytest.raises(InputError, match="8 of 8 images cannot be read"):
        training.sample(8, seed=4)


def test_at_most_one_percent_may_be_unreadable(image_folder, monkeypatch):
    monkeypatch.setattr("patchvae_tf.datasets.streamed.MAX_UNREADABLE", 0.02)
    training, _ = opened(None, dataset=str(image_folder))
    whole = batches_of(training, flip=False, total_steps=11)
    gone = int(indices_of(whole[2])[5])
    (image_folder / f"{gone:03}.png").unlink()
    found = batches_of(training, flip=False, total_steps=11)
    same = (found == whole).all(axis=(2, 3, 4))
    assert same.sum() == same.size - 1
    assert not same[2, 5]
    np.testing.assert_array_equal(found[2, 5], whole[2, 6])  # place 5 of the 7 readable ones
    again = batches_of(training, flip=False, total_steps=11, start_step=2)
    np.testing.assert_array_equal(again, found[2:])


@pytest.mark.parametrize("damage", ["gone", "flipped byte", "cut"])
def test_a_damaged_record_file_keeps_the_places_of_other_images(
    damage, tmp_path, monkeypatch, no_network
):
    monkeypatch.setattr("patchvae_tf.datasets.streamed.MAX_UNREADABLE", 0.5)
    paths = write_records(tmp_path)
    training, _ = opened(tmp_path)
    whole = batches_of(training, flip=False, total_steps=11)
    content = bytearray(paths[1].read_bytes())
    if damage == "gone":
        paths[1].unlink()
    elif damage == "cut":
        paths[1].write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 255
        paths[1].write_bytes(content)
    found = batches_of(training, flip=False, total_steps=11)
    lost = {int(key.split("/")[1]) for key in training.unreadable.keys}
    of_file = np.arange(23, 45)  # 90 records, 4 files
    assert lost <= set(range(22, 46))
    assert len(lost) >= len(of_file) // 2 - 2
    same = (found == whole).all(axis=(2, 3, 4))
    np.testing.assert_array_equal(~same, np.isin(indices_of(whole), list(lost)))


def test_too_small_a_source_or_part_raises(records):
    training, _ = opened(records)
    with pytest.raises(InputError, match="batch_size is 91: expected 1 to 90"):
        batches_of(training, batch_size=91)
    with pytest.raises(InputError, match="validation part of 90 cannot be held out of 90"):
        opened(records, held_out=90)
