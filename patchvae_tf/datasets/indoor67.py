"""MIT Indoor67 as a TFDS data set, from files that the user has."""

import pathlib

import tensorflow_datasets as tfds

from patchvae_tf.datasets import scene_lists
from patchvae_tf.errors import InputError

_CLASS_NAMES = """
airport_inside artstudio auditorium bakery bar bathroom bedroom bookstore bowling buffet casino
children_room church_inside classroom cloister closet clothingstore computerroom concert_hall
corridor deli dentaloffice dining_room elevator fastfood_restaurant florist gameroom garage
greenhouse grocerystore gym hairsalon hospitalroom inside_bus inside_subway jewelleryshop
kindergarden kitchen laboratorywet laundromat library livingroom lobby locker_room mall
meeting_room movietheater museum nursery office operating_room pantry poolinside prisoncell
restaurant restaurant_kitchen shoeshop stairscase studiomusic subway toystore trainstation
tv_studio videostore waitingroom warehouse winecellar
"""
CLASS_NAMES = tuple(_CLASS_NAMES.split())

_LISTS = {"train": "TrainImages.txt", "test": "TestImages.txt"}
_LAYOUT = (
    "Images/CLASS/FILE.jpg for 67 classes, TrainImages.txt and TestImages.txt with a line "
    "CLASS/FILE.jpg for each image."
)


class Indoor67(tfds.core.GeneratorBasedBuilder):
    """67 classes of indoor scenes (Quattoni and Torralba, CVPR 2009).

    Splits: "train" and "test", as their lists name them (5,360 and 1,340), and "extra", the images
    that are in neither list: learning without labels takes "train+extra".
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The first."}  # noqa: RUF012 (as TFDS wants it)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get indoorCVPR_09.tar, TrainImages.txt and TestImages.txt from "
        "https://web.mit.edu/torralba/www/indoor.html, unpack the first, and put into one folder: "
        f"{_LAYOUT}"
    )

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description="15,620 photographs of 67 classes of indoor scenes, of various sizes.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(names=list(CLASS_NAMES)),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://web.mit.edu/torralba/www/indoor.html",
            citation=_CITATION,
        )

    def _split_generators(self, dl_manager):
        folder = dl_manager.manual_dir
        splits = read_lists(folder)
        return {
            split: self._generate_examples(folder / "Images", names)
            for split, names in splits.items()
        }

    def _generate_examples(self, images, names):
        for name in names:
            yield name, {"image": images / name, "label": name.partition("/")[0]}


def read_lists(folder: pathlib.Path) -> dict[str, list[str]]:
    """Reads and checks the lists.

    Args:
        folder: path-like of `etils.epath`, with the layout of the class's instructions.

    Returns:
        dict: split -> list of CLASS/FILE.jpg; "extra" is sorted and not there when it is empty.

    Raises:
        InputError: the layout is another, or an image that is named is absent.
    """
    scene_lists.check_layout(folder, ["Images/", *_LISTS.values()], _LAYOUT)
    splits: dict[str, list[str]] = {}
    listed: dict[str, str] = {}
    for split, file_name in _LISTS.items():
        path = folder / file_name
        splits[split] = []
        for number, name in scene_lists.lines(path):
            class_name, _, file = name.partition("/")
            if class_name not in CLASS_NAMES or not file or "/" in file:
                raise scene_lists.malformed(
                    path, number, name, "CLASS/FILE.jpg, of one of the 67 classes"
                )
            if name in listed:
                raise InputError(
                    f"{name} is named twice, in {listed[name]} and in {file_name}: a test image "
                    "must not be trained on. Get both files anew."
                )
            listed[name] = file_name
            splits[split].append(name)
        scene_lists.check_images(path, (folder / "Images" / name for name in splits[split]))
    present = (
        f"{class_name}/{file.name}"
        for class_name in CLASS_NAMES
        if (folder / "Images" / class_name).is_dir()
        for file in (folder / "Images" / class_name).iterdir()
        if file.suffix.lower() in (".jpg", ".jpeg") and not file.name.startswith(".")
    )
    extra = sorted(name for name in present if name not in listed)
    return {**splits, "extra": extra} if extra else splits


_CITATION = """\
@inproceedings{quattoni2009recognizing,
  title={Recognizing indoor scenes},
  author={Quattoni, Ariadna and Torralba, Antonio},
  booktitle={IEEE Conference on Computer Vision and Pattern Recognition},
  pages={413--420},
  year={2009}
}"""
