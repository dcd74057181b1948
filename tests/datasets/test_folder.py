import dataclasses
import logging
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from patchvae_tf import datasets
from patchvae_tf.datasets import decoding, folder
from patchvae_tf.errors import InputError
from patchvae_tf.settings.pixels import RGB


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


@pytest.mark.parametrize("damaged", [1, 6])
def test_unreadable_files_cost_no_graph_and_no_search_of_their_own(write, tmp_path, damaged):
    for index in range(24):
        write(f"{index:02}.png", red=index)
    gone = range(0, 4 * damaged, 4)
    for index in gone:
        (tmp_path / f"{index:02}.png").write_bytes(b"no image")
    examples = folder.folder_examples(pathlib.Path(tmp_path), "train", RGB)
    calls = []

    def counted(name):
        def call(*arguments):
            calls.append(name)
            return getattr(examples, name)(*arguments)

        return call

    counting = dataclasses.replace(examples, open=counted("open"), decode=counted("decode"))
    batches = list(decoding.decoded_batches(counting, image_size=8, batch_size=4))
    indices, images, _ = (np.concatenate(values) for values in zip(*batches, strict=True))
    assert indices.tolist() == images[:, 0, 0, 0].tolist() == sorted({*range(24)} - {*gone})
    # Once for all of them and once for those of batches that hold an unreadable one.
    assert calls == ["open", "decode", "decode"]


def test_batches_of_unreadable_files_alone_are_passed_over(write, tmp_path):
    for index in range(12):
        write(f"{index:02}.png", red=index)
    for index in (*range(4, 8), 11):
        (tmp_path / f"{index:02}.png").write_bytes(b"no image")
    examples = folder.folder_examples(pathlib.Path(tmp_path), "train", RGB)
    for source, first in ((examples, 0), (examples.take(np.arange(3, 12)), 3)):
        batches = decoding.decoded_batches(source, image_size=8, batch_size=4)
        found = np.concatenate([images[:, 0, 0, 0] for _, images, _ in batches])
        assert found.tolist() == [*range(first, 4), 8, 9, 10]


def test_many_classes_are_numbered_by_their_names(write, tmp_path):
    names = [str(number) for number in range(200)]
    for name in names:
        write(f"{name}/0.png", red=int(name))
    loaded = load(tmp_path)
    assert list(loaded.class_names) == sorted(names)
    assert [sorted(names)[label] for label in loaded.labels] == [str(red) for red in reds(loaded)]


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
    (tmp_path / "a.svg").write_bytes(b"")
    with pytest.raises(InputError, match=r"no images \(1 \.svg\): .* suffixes \.bmp, \.gif, \.jf"):
        load(tmp_path)


def test_missing_split_raises(write, tmp_path):
    write("train/1.png")
    with pytest.raises(InputError, match="no split 'test': it offers train"):
        load(tmp_path, "test")


SPELLINGS = [
    ("train", "valid", None),
    ("Training", "TESTING", None),
    ("train", "val", "test"),
    ("training", "dev", "Test"),
    ("train", "eval", "testing"),
    ("test", "validation", None),
]


@pytest.mark.parametrize("names", SPELLINGS)
def test_splits_are_known_in_any_spelling(names, write, tmp_path, caplog):
    names = [name for name in names if name]
    for number, name in enumerate(names):
        for image in range(number + 1):
            write(f"{name}/cat/{image}.png", red=number)
    with caplog.at_level(logging.INFO, "patchvae_tf"):
        for number, name in enumerate(names):
            loaded = load(tmp_path, name)
            assert (loaded.class_names, reds(loaded)) == (("cat",), [number] * (number + 1))
    counts = [f"{name} ({number + 1} images)" for number, name in enumerate(names)]
    assert all(count in caplog.messages[0] for count in counts)
    other = {"valid": "val", "testing": "test", "training": "train"}
    for number, name in enumerate(names):
        assert reds(load(tmp_path, other.get(name.lower(), name.upper())))[0] == number


def test_a_split_in_two_folders_is_refused(write, tmp_path):
    for name in ("train", "val", "valid"):
        write(f"{name}/1.png")
    with pytest.raises(InputError, match="has val and valid, which are one split, validation"):
        load(tmp_path)


def test_images_beside_splits_are_named(write, tmp_path, caplog):
    for name in ("train/1.png", "val/1.png", "stray.png"):
        write(name)
    assert load(tmp_path).keys == ("1.png",)
    assert "left out 1 image(s) beside the splits' folders" in caplog.text


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_links_lead_to_each_real_folder_once(target, write, tmp_path):
    root = tmp_path / "images"
    for name in ("cat/1.png", "cat/deep/2.png", "dog/3.png"):
        write(f"images/{name}")
    write("elsewhere/bird/4.png")
    (root / "cat/loop").symlink_to(target)
    (root / "a_cat").symlink_to(root / "cat")  # before it by name
    (root / "bird").symlink_to(tmp_path / "elsewhere/bird")
    (root / "broken").symlink_to(tmp_path / "nowhere")
    (root / "dog/linked.png").symlink_to(root / "cat/1.png")
    keys = load(root).keys
    own = {"bird/4.png", "cat/1.png", "cat/deep/2.png", "dog/3.png", "dog/linked.png"}
    assert own <= set(keys)
    rest = set(keys) - own
    # From above the root, only what is not below it comes in.
    assert all(not key.endswith(("1.png", "2.png", "3.png")) for key in rest)
    assert len(keys) == len(own) + len(rest)


def test_files_are_told_by_their_first_bytes(write, tmp_path, caplog):
    for name in ("a.png", "b.jpg"):
        write(name)
    content = {
        suffix: tmp_path / f"new.{suffix}" for suffix in ("jpg", "png", "gif", "bmp", "webp")
    }
    for path in content.values():
        write(path.name)
        path.rename(path.with_name(f"{path.suffix[1:]}_without_suffix"))
    for name in ("c.jfif", "d.jpe", "e.JPEG", "f.unknown"):
        (tmp_path / name).write_bytes((tmp_path / "b.jpg").read_bytes())
    (tmp_path / "png_as.tif").write_bytes((tmp_path / "a.png").read_bytes())
    for number in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.ppm")
    (tmp_path / "README").write_text("BM is no image")
    (tmp_path / "notes.txt").write_text("")
    loaded = load(tmp_path)
    assert len(loaded) == 2 + 5 + 4 + 1
    (message,) = caplog.messages
    assert "left out 3 .ppm, 1 without suffix, 1 .txt. JPEG, PNG" in message


def test_of_other_files_alone_nothing_is_said_aloud(write, tmp_path, caplog):
    write("1.png")
    (tmp_path / "1.txt").write_text("")
    load(tmp_path)
    assert caplog.messages == []


def test_one_stray_image_leaves_the_classes_as_they_are(write, tmp_path, caplog):
    for name in ("cat/1.png", "dog/2.png", "stray.png"):
        write(name)
    loaded = load(tmp_path)
    assert (loaded.class_names, loaded.labels.tolist()) == (("cat", "dog"), [0, 1])
    assert "left out 1 image(s) beside the class folders" in caplog.text


def test_many_images_beside_folders_mean_no_classes_and_it_is_said(write, tmp_path, caplog):
    for name in ("cat/1.png", "dog/2.png", "3.png", "4.png"):
        write(name)
    loaded = load(tmp_path)
    assert (len(loaded), loaded.labels) == (4, None)
    assert "there are no labels" in caplog.text


JUNK = "__MACOSX .ipynb_checkpoints @eaDir .thumbnails lost+found $RECYCLE.BIN #recycle __pycache__"


def test_what_systems_leave_behind_is_no_class(write, tmp_path, caplog):
    for name in (*JUNK.split(), "System Volume Information", "cat", "dog"):
        write(f"{name}/1.png")
        write(f"cat/{name}/2.png")
    for name in ("cat/._1.png", "cat/Thumbs.db", "cat/.DS_Store"):
        (tmp_path / name).write_bytes(b"")
    loaded = load(tmp_path)
    assert loaded.keys == ("cat/1.png", "cat/cat/2.png", "cat/dog/2.png", "dog/1.png")
    assert caplog.messages == []


def test_runs_beside_the_images_are_passed_over(write, tmp_path, caplog):
    names = ("cat/1.png", "dog/2.png", "runs/one/pictures/3.png", "tables/4.png")
    for name in (*names, "runs/no-run/5.png"):
        write(name)
    for name in ("runs/one/config.json", "runs/one/data.json", "tables/table.md"):
        (tmp_path / name).write_text("")
    (tmp_path / "tables/table.json").write_text("")
    (tmp_path / "cat/data.json").write_text("")  # by itself it is no run's
    loaded = load(tmp_path)
    assert loaded.keys == ("cat/1.png", "dog/2.png", "runs/no-run/5.png")
    assert caplog.messages == []
    assert load(tmp_path / "runs/one").keys == ("pictures/3.png",)  # it was named


def test_a_split_beside_runs_alone_is_a_split(write, tmp_path):
    for name in ("train/cat/1.png", "runs/one/pictures/2.png"):
        write(name)
    for name in ("config.json", "data.json"):
        (tmp_path / "runs/one" / name).write_text("")
    (tmp_path / "runs/begun").mkdir()
    (tmp_path / "runs/begun/.lock").write_text("")
    assert load(tmp_path).class_names == ("cat",)
    write("other/3.png")
    assert load(tmp_path).class_names == ("other", "train")


def test_a_class_that_train_has_not_is_named(write, tmp_path, caplog):
    for name in ("train/cat/1.png", "train/dog/2.png", "test/Cat/3.png", "test/dog/4.png"):
        write(name)
    load(tmp_path)
    assert caplog.messages == []
    test = load(tmp_path, "test")
    assert (test.class_names, test.labels.tolist()) == (("Cat", "cat", "dog"), [0, 2])
    (message,) = caplog.messages
    assert "the split test has classes that train has not (Cat), which no classifier" in message


def test_a_split_without_classes_beside_one_with_them_is_named(write, tmp_path, caplog):
    for name in ("train/cat/1.png", "train/dog/2.png", "test/3.png"):
        write(name)
    assert load(tmp_path, "test").labels is None
    (message,) = caplog.messages
    assert "has classes, but in no folder of its split test, whose images have no" in message


def test_a_split_beside_junk_alone_is_a_split(write, tmp_path):
    for name in ("train/cat/1.png", "__MACOSX/train/cat/1.png"):
        write(name)
    assert load(tmp_path).class_names == ("cat",)


def test_names_that_are_not_utf8_are_read_and_escaped(write, tmp_path):
    write("cat/a.png", red=7)
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    os.rename(os.fsencode(tmp_path / "cat/a.png"), folder + b"/\xff.png")
    write("cat/b.png", red=8)
    loaded = load(tmp_path)
    assert sorted(loaded.keys) == ["caf\\xe9/\\xff.png", "cat/b.png"]
    assert sorted(loaded.class_names) == ["caf\\xe9", "cat"]
    assert sorted(reds(loaded)) == [7, 8]


def test_fifteen_scenes(test_data):
    loaded = datasets.load(str(test_data("scene15")), "test", image_size=32)
    assert len(loaded.class_names) == 15
    assert (loaded.class_names[0], loaded.keys[0].split("/")[0]) == ("Bedroom", "Bedroom")
    folders = [key.split("/")[0] for key in loaded.keys]
    assert [loaded.class_names[label] for label in loaded.labels] == folders
    assert len(loaded) == 2985
    assert 90 < loaded.images.mean() < 140


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "test"), True),
        (("Training", "val", "notes"), True),
        (("val", "test"), True),
        (("train",), True),
        (("test",), False),
        (("train", "bus"), False),
        (("ash", "oak"), False),
        ((), False),
    ],
)
def test_folders_of_which_names_are_splits(names, expected):
    assert folder.are_splits(names) is expected
