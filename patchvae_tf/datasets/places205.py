"""Places205 as a TFDS data set, from files that the user has."""

import pathlib

import tensorflow_datasets as tfds

from patchvae_tf.datasets import scene_lists

NUM_CLASSES = 205

_LISTS = {"train": "train_places205.csv", "validation": "val_places205.csv"}
_LAYOUT = (
    "images256/…, train_places205.csv and val_places205.csv with a line `PATH LABEL` for each "
    "image, PATH within images256, LABEL from 0 to 204, a space between."
)


class Places205(tfds.core.GeneratorBasedBuilder):
    """205 classes of places (Zhou et al., NeurIPS 2014): 2,448,873 images and 20,500.

    Splits: "train" and "validation". The labels of the original's test images were never published:
    its validation part is what results are reported on.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The first."}  # noqa: RUF012 (as TFDS wants it)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get imagesPlaces205_resize.tar.gz and trainvalsplit_places205.tar.gz from "
        "http://places.csail.mit.edu/downloadData.html, unpack both, and put into one folder: "
        f"{_LAYOUT}"
    )

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description="Photographs of 205 classes of places, 256 pixels a side.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(num_classes=NUM_CLASSES),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="http://places.csail.mit.edu",
            citation=_CITATION,
        )

    def _split_generators(self, dl_manager):
        folder = dl_manager.manual_dir
        check(folder)
        return {
            split: self._generate_examples(folder, file_name) for split, file_name in _LISTS.items()
        }

    def _generate_examples(self, folder, file_name):
        for name, label in _read_list(folder / file_name):
            yield name, {"image": folder / "images256" / name, "label": label}


def check(folder: pathlib.Path) -> None:
    """Looks at every line of the lists and for every image, in memory that does not grow.

    Args:
        folder: path-like of `etils.epath`, with the layout of the class's instructions.

    Raises:
        InputError: the layout is another, or an image that is named is absent.
    """
    scene_lists.check_layout(folder, ["images256/", *_LISTS.values()], _LAYOUT)
    for file_name in _LISTS.values():
        path = folder / file_name
        scene_lists.check_images(
            path, (folder / "images256" / name for name, _ in _read_list(path))
        )


def _read_list(path):
    """Yields (path within images256, label) of each line."""
    for number, line in scene_lists.lines(path):
        name, _, label = line.rpartition(" ")
        if not name or not label.isdecimal() or int(label) >= NUM_CLASSES:
            raise scene_lists.malformed(
                path, number, line, "`PATH LABEL`, a space between, LABEL from 0 to 204"
            )
        yield name, int(label)


_CITATION = """\
@inproceedings{zhou2014learning,
  title={Learning deep features for scene recognition using places database},
  author={Zhou, Bolei and Lapedriza, Agata and Xiao, Jianxiong and Torralba, Antonio and
          Oliva, Aude},
  booktitle={Advances in Neural Information Processing Systems},
  year={2014}
}"""
