import logging

import numpy as np
import pytest
from PIL import Image

from patchvae_tf import datasets
from patchvae_tf.errors import InputError


@pytest.fixture
def write(tmp_path):
    def write_image(name, red=0):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (red, 0, 0)).save(path)

    return write_image


def load(folder, split="train"):
    return datasets.load(str(folder), split, image_size=8)


def reds(image_set):
    return image_set.images[:, 0, 0, 0].tolist()


def test_first_level_folders_are_the_classes(write, tmp_path):
    write("cat/deep/2.png", red=2)
    write("dog/3.webp", red=3)
    write("cat/1.bmp", red=1)
    loaded = load(tmp_path)
    assert loaded.keys == ("cat/1.bmp", "cat/deep/2.png", "dog/3.webp")
    assert loaded.class_names == ("cat", "dog")
    np.testing.assert_array_equal(loaded.labels, [0, 0, 1])
    assert loaded.images.shape == (3, 8, 8, 3)
    assert reds(loaded)[:2] == [1, 2]  # WEBP is lossy here.


@pytest.mark.parametrize("names", [("b.png", "a.gif"), ("b.png", "cat/a.gif")])
def test_images_outside_of_class_folders_have_no_labels(write, tmp_path, names):
    for name in names:
        write(name)
    loaded = load(tmp_path)
    assert loaded.keys == tuple(sorted(names))
    assert (loaded.labels, loaded.class_names) == (None, None)


def test_splits_count_classes_alike(write, tmp_path):
    for red, name in enumerate(["train/a/1.png", "train/b/1.png", "train/c/1.png", "test/c/2.png"]):
        write(name, red)
    np.testing.assert_array_equal(load(tmp_path).labels, [0, 1, 2])
    test = load(tmp_path, "test")
    assert (test.labels.tolist(), test.class_names) == ([2], ("a", "b", "c"))
    assert (test.keys, reds(test)) == (("c/2.png",), [3])


def test_class_may_be_called_train(write, tmp_path):
    for name in ("bus/1.png", "train/1.png"):
        write(name)
    assert load(tmp_path).class_names == ("bus", "train")


def test_hidden_and_other_files_are_ignored(write, tmp_path):
    for name in (".hidden.png", ".thumbnails/1.png", "shown.PNG"):
        write(name)
    (tmp_path / "notes.txt").write_text("")
    assert load(tmp_path).keys == ("shown.PNG",)


def test_images_of_any_size_are_resized_and_cropped(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 33, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load(tmp_path).images[0], datasets.resize_and_crop(pixels, 8))


def test_one_unreadable_file_in_a_hundred_is_skipped_and_named(write, tmp_path, caplog):
    for index in range(99):
        write(f"{'ab'[index % 2]}/{index:03}.png", red=index)
    (tmp_path / "a/050x.png").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING, "patchvae_tf"):
        loaded = load(tmp_path)
    assert caplog.messages == ["1 of 100 images cannot be read ('a/050x.png'): skipped."]
    assert loaded.skipped == ("a/050x.png",)
    assert len(loaded) == len(loaded.keys) == 99
    assert "a/050x.png" not in loaded.keys
    names = [int(key[2:5]) for key in loaded.keys]
    assert reds(loaded) == names  # Images, labels and keys still belong together.
    np.testing.assert_array_equal(loaded.labels, np.array(names) % 2)


def test_more_than_one_percent_unreadable_raises(write, tmp_path):
    for index in range(95):
        write(f"{index}.png")
    for name in "abcd":
        (tmp_path / f"{name}.jpg").write_bytes(b"\xff\xd8\xff cut short")
    with pytest.raises(InputError, match=r"4 of 99 .* \('a.jpg', 'b.jpg', 'c.jpg', \.\.\.\), more"):
        load(tmp_path)


def test_no_readable_image_raises(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"1 of 1 images cannot be read \('a\.png'\)"):
        load(tmp_path)


def test_empty_folder_raises(tmp_path):
    with pytest.raises(InputError, match="is empty: put images there"):
        load(tmp_path)


def test_folder_of_other_files_raises(tmp_path):
    (tmp_path / "a.tiff").write_bytes(b"")
    with pytest.raises(InputError, match=r"no images: .* suffixes are \.bmp, \.gif, \.jpeg, \.jpg"):
        load(tmp_path)


def test_missing_split_raises(write, tmp_path):
    write("train/1.png")
    with pytest.raises(InputError, match="no split 'test': it offers train"):
        load(tmp_path, "test")


def test_fifteen_scenes(test_data):
    loaded = datasets.load(str(test_data("scene15")), "test", image_size=32)
    assert len(loaded.class_names) == 15
    assert (loaded.class_names[0], loaded.keys[0].split("/")[0]) == ("Bedroom", "Bedroom")
    folders = [key.split("/")[0] for key in loaded.keys]
    assert [loaded.class_names[label] for label in loaded.labels] == folders
    assert len(loaded) == 2985
    assert 90 < loaded.images.mean() < 140
