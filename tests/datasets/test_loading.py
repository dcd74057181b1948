import pathlib

import numpy as np
import pytest
from PIL import Image

from patchvae_tf import datasets
from patchvae_tf.errors import InputError


@pytest.mark.parametrize("dataset", ["./none", "~/none-such", "/none/such", "none/such", ""])
def test_what_does_not_exist_raises(dataset, no_network, tmp_path):
    expected = "does not exist" if dataset else "neither a path nor a data set"
    with pytest.raises(InputError, match=expected):
        datasets.load(dataset, image_size=8, data_dir=str(tmp_path))


def test_home_folder_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    pathlib.Path(tmp_path, "pictures").mkdir()
    Image.new("RGB", (8, 8), (7, 0, 0)).save(tmp_path / "pictures" / "a.png")
    loaded = datasets.load("~/pictures", image_size=8)
    assert loaded.images[0, 0, 0].tolist() == [7, 0, 0]


def test_file_that_is_no_archive_raises(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.png' is a file, but neither a folder nor an \.npz"):
        datasets.load(str(tmp_path / "a.png"), image_size=8)


def test_image_size_must_be_positive():
    with pytest.raises(InputError, match="image_size is 0: expected a positive number"):
        datasets.load("parts", image_size=0)


def test_a_stream_gives_the_images_of_any_indices(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), "uint8")
    np.savez(tmp_path / "images.npz", x_train=pixels)
    (tmp_path / "folder").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "folder" / f"{number}.png")
    for source in ("images.npz", "folder"):
        stream = datasets.stream(str(tmp_path / source), "train", image_size=8)
        np.testing.assert_array_equal(stream.take(np.array([3, 0, 3])), pixels[[3, 0, 3]])
    (tmp_path / "folder/1.png").unlink()
    with pytest.raises(InputError, match=r"1 of 2 images cannot be read \('1.png'\)"):
        stream.take(np.array([1, 2]))


def test_what_is_cached_is_read_once(tmp_path):
    def write(value):
        images = np.full((4, 8, 8, 3), value, "uint8")
        np.savez(tmp_path / "images.npz", x_train=images, x_test=images)

    def load(split="train", image_size=8):
        return datasets.load(f"{tmp_path}/images.npz", split, image_size=image_size)

    write(1)
    with datasets.cached_loading():
        first = load()
        write(2)
        assert load() is first
        assert load("test").images.max() == 2  # another split, read now
    assert load().images.max() == 2
