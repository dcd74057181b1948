"""Indoor67 and Places205: the builders on generated files of the exact layout."""

import contextlib
import pathlib
import tempfile

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from etils import epath

from patchvae_tf import datasets
from patchvae_tf.datasets import indoor67, places205, splits
from patchvae_tf.errors import InputError
from trainers import prepare


def _write_image(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((6, 8, 3), value, np.uint8)
    path.write_bytes(tf.io.encode_jpeg(pixels, quality=100).numpy())


def _write_indoor67(folder):
    """Two training images, one test image, two in no list."""
    names = {
        "TrainImages.txt": ["airport_inside/a 1.jpg", "winecellar/b.jpg"],
        "TestImages.txt": ["bakery/c.jpg"],
    }
    extra = ["bakery/d.jpg", "winecellar/e.JPG"]
    for value, name in enumerate([name for part in names.values() for name in part] + extra):
        _write_image(folder / "Images" / name, 40 * value)
    for file_name, lines in names.items():
        (folder / file_name).write_text("\n".join(lines) + "\n")


def _write_places205(folder):
    """Two training images and one for validation."""
    lists = {
        "train_places205.csv": ["a/abbey/gsun_1.jpg 0", "y/youth_hostel/gsun_2.jpg 204"],
        "val_places205.csv": ["a/abbey/gsun_3.jpg 0"],
    }
    for value, line in enumerate(line for part in lists.values() for line in part):
        _write_image(folder / "images256" / line.split(" ")[0], 40 * value)
    for file_name, lines in lists.items():
        (folder / file_name).write_text("\n".join(lines) + "\n")


class _SceneTestCase(tfds.testing.DatasetBuilderTestCase):
    write = None

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        folder = pathlib.Path(cls.stack.enter_context(tempfile.TemporaryDirectory()))
        cls.EXAMPLE_DIR = str(folder)
        cls.write(folder)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.stack.close()


class Indoor67Test(_SceneTestCase):
    DATASET_CLASS = indoor67.Indoor67
    SPLITS = {"train": 2, "test": 1, "extra": 2}  # noqa: RUF012
    write = staticmethod(_write_indoor67)


class Places205Test(_SceneTestCase):
    DATASET_CLASS = places205.Places205
    SPLITS = {"train": 2, "validation": 1}  # noqa: RUF012
    write = staticmethod(_write_places205)


del _SceneTestCase  # not a test itself


WRITERS = {"indoor67": _write_indoor67, "places205": _write_places205}


def _prepare(name, folder, data_dir):
    config = prepare.PrepareConfig(dataset=name, manual_dir=str(folder), data_dir=str(data_dir))
    prepare.prepare(config)


@pytest.mark.parametrize(
    ("name", "unsupervised", "test"),
    [
        ("indoor67", {(0, 0), (40, 66), (120, 3), (160, 66)}, {(80, 3)}),
        ("places205", {(0, 0), (40, 204)}, {(80, 0)}),
    ],
)
def test_what_is_prepared_can_be_trained_and_tested_on(name, unsupervised, test, tmp_path, capsys):
    folder = tmp_path / "files"
    folder.mkdir()
    WRITERS[name](folder)
    _prepare(name, folder, tmp_path / "tfds")
    assert f"\n{name} is prepared in {tmp_path}/tfds/{name}/1.0.0: train 2," in (
        capsys.readouterr().out.replace("\r", "\n")
    )

    def examples(split):
        found = datasets.load(name, split, image_size=4, data_dir=str(tmp_path / "tfds"))
        assert found.images.shape == (len(found), 4, 4, 3)
        pixels = found.images[:, 0, 0, 0].astype(int)
        return set(zip((10 * np.round(pixels / 10)).astype(int), found.labels, strict=True))

    assert examples(splits.unsupervised_split(name)) == unsupervised
    assert examples(splits.test_split(name)) == test


def _remove(name):
    def change(folder):
        (folder / name).unlink()

    return change


def _rename(old, new):
    def change(folder):
        (folder / old).rename(folder / new)

    return change


def _append(name, line):
    def change(folder):
        with (folder / name).open("a") as file:
            file.write(f"{line}\n")

    return change


def _empty(name):
    def change(folder):
        (folder / name).write_text("\n")

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("indoor67", _remove("TestImages.txt"), "has no file TestImages.txt. It holds Images, Tra"),
        ("indoor67", _rename("Images", "images"), "no folder Images/. It holds TestImages.txt, .*"),
        (
            "indoor67",
            _remove("Images/bakery/c.jpg"),
            r"TestImages.txt names 1 of 1 images that are not there: .*/bakery/c.jpg. Unpack",
        ),
        ("indoor67", _append("TrainImages.txt", "bakery/c.jpg"), "c.jpg is named twice, in Train"),
        (
            "indoor67",
            _append("TrainImages.txt", "Images/bakery/d.jpg"),
            "line 3 of .*TrainImages.txt is 'Images/bakery/d.jpg'. Expected: CLASS/FILE.jpg",
        ),
        ("indoor67", _empty("TrainImages.txt"), "TrainImages.txt names no image"),
        ("places205", _remove("val_places205.csv"), "has no file val_places205.csv. It holds ima"),
        ("places205", _rename("images256", "images"), "no folder images256/. .* Expected: images2"),
        (
            "places205",
            _append("train_places205.csv", "a/abbey/gone.jpg 0"),
            "names 1 of 3 images that are not there: .*/images256/a/abbey/gone.jpg. Unpack",
        ),
        (
            "places205",
            _append("train_places205.csv", "a/abbey/gsun_1.jpg,0"),
            "line 3 of .*csv is 'a/abbey/gsun_1.jpg,0'. Expected: `PATH LABEL`, a space between",
        ),
        (
            "places205",
            _append("val_places205.csv", "a/abbey/gsun_1.jpg 205"),
            "LABEL from 0 to 204",
        ),
    ],
)
def test_what_is_wrong_with_the_files_is_named(name, change, message, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    WRITERS[name](folder)
    change(folder)
    with pytest.raises(InputError, match=message):
        _prepare(name, folder, tmp_path / "tfds")
    assert not (tmp_path / "tfds").exists()  # nothing is left behind


def test_absent_images_are_counted_and_a_few_named(tmp_path):
    _write_places205(tmp_path)
    for image in (tmp_path / "images256").rglob("*.jpg"):
        image.unlink()
    for number in range(5):
        _append("train_places205.csv", f"x/{number}.jpg 1")(tmp_path)
    with pytest.raises(InputError, match=r"names 7 of 7 images .*/x/0.jpg and 4 more\. Unpack"):
        places205.check(epath.Path(tmp_path))


def test_without_files_the_instructions_are_shown(tmp_path):
    config = prepare.PrepareConfig(dataset="indoor67", manual_dir=str(tmp_path / "none"))
    with pytest.raises(
        InputError, match="none is no folder. Get indoorCVPR_09.tar, .*Images/CLASS"
    ):
        prepare.prepare(config)
    (tmp_path / "empty").mkdir()
    config = prepare.PrepareConfig(dataset="indoor67", manual_dir=str(tmp_path / "empty"))
    with pytest.raises(InputError, match="empty is empty. Get indoorCVPR_09.tar"):
        prepare.prepare(config)
    with pytest.raises(InputError, match="--manual_dir is missing. Get imagesPlaces205_resize.tar"):
        prepare.prepare(prepare.PrepareConfig(dataset="places205"))
    with pytest.raises(
        InputError, match=r"'indoor67' is not prepared .*: run `python -m trainers.prepare"
    ):
        datasets.load("indoor67", image_size=8, data_dir=str(tmp_path))
