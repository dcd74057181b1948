"""How well a PatchVAE's parts find the true ones, where it is known where those are."""

import dataclasses
import pathlib
import typing
from collections.abc import Sequence

from patchvae_tf import extras, runs, startup
from patchvae_tf.errors import InputError
from patchvae_tf.settings import Settings, setting
from patchvae_tf.settings.pixels import Pixels

if typing.TYPE_CHECKING:
    import keras
    import numpy as np

    from patchvae_tf.evaluation.part_truths import PartTruths

# Areas under the ROC curve that stand beside the model's: field -> what the table calls it.
_BESIDE = {
    "untrained_mean_area": "untrained model",
    "shuffled_mean_area": "maps dealt to other images",
    "place_alone_mean_area": "each map's mean at every image: place alone",
    "kmeans_mean_area": "k-means of φ's places",
    "nmf_mean_area": "NMF of φ's places",
    "linear_mean_area": "linear readout of φ's places, with labels",
}
_AGREEMENT = {
    "mean_iou": "IoU of matched parts, mean",
    "foreground_nmi": "NMI of the places' parts, foreground",
    "foreground_ari": "ARI of the places' parts, foreground",
    "nmi": "NMI, all places",
    "ari": "ARI, all places",
}
_BASELINE_PLACES = 40_000  # at most, of whole images; all would take minutes


@dataclasses.dataclass(frozen=True)
class PartsScoreConfig(Settings):
    """Settings of `python -m trainers.parts_score`."""

    run_dir: str | None = setting(None, "Score", "folder of a finished run of patchvae; needed")
    dataset: str = setting(
        "parts",
        "Score",
        "images whose parts are known: parts, an .npz file with part_maps or points, or a folder "
        "of images with masks or points",
    )
    masks: str | None = setting(
        None,
        "Score",
        "folder with a PNG for each image of a folder, of the same name: 0 where no part is, k "
        "where the k-th is",
    )
    points: str | None = setting(
        None, "Score", "CSV file with the columns image, part, x and y, in pixels of the image"
    )
    split: str | None = setting(
        None,
        "Score",
        "the part of the data set (default: test where there is one, else train)",
        choices=("train", "test"),
    )

    def check(self) -> None:
        """Raises InputError for a setting that is missing or wrong."""
        if not self.run_dir:
            raise InputError("run_dir is missing. Give the folder of a finished run.")


def score_run(config: PartsScoreConfig) -> None:
    """Scores a finished run; writes `parts_score.json` into its folder, and prints the table.

    Args:
        config: PartsScoreConfig.

    Raises:
        InputError: no such run, or one without parts; or no such data.
    """
    extras.require("report", "the score")
    run_dir = pathlib.Path(config.run_dir or "").expanduser()
    record = runs.read_record(run_dir)
    if record is not None and record["settings"]["model"] != "patchvae":
        raise InputError(
            f"{run_dir} is a run of {record['settings']['model']}, which has no parts. "
            "Give a run of patchvae."
        )
    settings = record["settings"] if record else {}
    seed, value_range = settings.get("seed", 0), settings.get("value_range")

    startup.import_tensorflow()
    import patchvae_tf
    from patchvae_tf.evaluation import part_truths

    model = patchvae_tf.load_model(run_dir)
    truths = part_truths.load(
        config.dataset,
        config.split,
        image_size=model.image_size,
        stride=model.stride,
        seed=seed,
        pixels=Pixels.of(model.channels, value_range),
        masks=config.masks,
        points=config.points,
    )
    result = {"dataset": config.dataset, **score_truths(model, truths, seed)}
    runs.write_json(run_dir / "parts_score.json", result)
    print(table(result))


def score(model: "keras.Model", split: str, seed: int) -> dict:
    """Scores a model's occurrence maps on `parts`.

    Args:
        model: PatchVAE.
        split: str, "train" or "test".
        seed: int, of the scenes and of what `score_truths` draws.

    Returns:
        dict as of `score_truths`.
    """
    from patchvae_tf.evaluation import part_truths

    truths = part_truths.load(
        "parts",
        split,
        image_size=model.image_size,
        stride=model.stride,
        seed=seed,
        pixels=Pixels(model.channels),
    )
    return score_truths(model, truths, seed)


def score_truths(model: "keras.Model", truths: "PartTruths", seed: int) -> dict:
    """Scores a model's occurrence maps, beside floors, baselines and a ceiling.

    Floors: an untrained model, the maps dealt to other images, and each part's mean map at every
    image. Baselines: k-means and NMF of φ's features, as many clusters as parts. Ceiling: a linear
    readout of the same features, learned with the labels of half of the images and scored on the
    others. These three are of up to 40,000 places.

    Args:
        model: PatchVAE.
        truths: `part_truths.PartTruths`.
        seed: int, of the untrained model, the dealing and the baselines.

    Returns:
        dict: what `score_maps` gives; areas in [0, 1], named as in `_BESIDE`; `split` and `images`.

    Raises:
        InputError: there are fewer than two images.
    """
    count = len(truths.images)
    if count < 2:
        raise InputError(
            f"the part {truths.split!r} has too few images whose parts are known for a score, "
            f"{count}: expected 2 or more, as a readout learns from half of them; add images."
        )
    import numpy as np
    import tensorflow as tf

    from patchvae_tf import noise
    from patchvae_tf.evaluation import features, part_baselines

    noise.set_first_weights(seed)
    untrained = type(model).from_config(model.get_config())
    order_seed = noise.fold_in(noise.step_seed(seed, 0), noise.Purpose.DEALING)
    order = noise.shuffled(tf.range(count, dtype=tf.int64), order_seed, count).numpy()

    occurrence = features.occurrence_maps(model, truths.images)  # [n, h, w, N]
    place_alone = np.broadcast_to(np.mean(occurrence, axis=0), occurrence.shape)
    places = occurrence.shape[1] * occurrence.shape[2]
    part = order[: max(2, _BASELINE_PLACES // places)]
    feature_maps = features.feature_maps(model.backbone, truths.images[part])
    part_maps = truths.part_maps[part]
    half = len(part) // 2
    linear = part_baselines.linear_maps(feature_maps, part_maps, half)
    found = {  # in the order of `_BESIDE`: maps, and where the true parts are
        "untrained": (features.occurrence_maps(untrained, truths.images), truths.part_maps),
        "shuffled": (occurrence[order], truths.part_maps),
        "place_alone": (place_alone, truths.part_maps),
        "kmeans": (part_baselines.kmeans_maps(feature_maps, model.num_parts, seed), part_maps),
        "nmf": (part_baselines.nmf_maps(feature_maps, model.num_parts, seed), part_maps),
        "linear": (linear, part_maps[half:]),
    }
    return {
        **score_maps(occurrence, truths.part_maps, truths.names),
        **{f"{name}_mean_area": _mean_area(*maps) for name, maps in found.items()},
        "split": truths.split,
        "images": count,
    }


def score_maps(occurrence: "np.ndarray", part_maps: "np.ndarray", names: Sequence[str]) -> dict:
    """How well learned parts' maps find the true parts.

    Args:
        occurrence: float [n, h, w, N].
        part_maps: bool [n, h, w, P].
        names: P str.

    Returns:
        dict: in [0, 1] `mean_area` and `weakest_area` (under the ROC curve, of matched parts),
        `mean_iou`; what `part_matching.assignment_agreement` gives; and `parts`: dict name -> dict
        of `learned`, `area`.
    """
    from patchvae_tf.evaluation import part_matching

    matches = part_matching.match_parts(occurrence, part_maps)
    areas = [match.area for match in matches]
    return {
        "mean_area": sum(areas) / len(areas),
        "weakest_area": min(areas),
        "mean_iou": part_matching.mean_iou(occurrence, part_maps, matches),
        **part_matching.assignment_agreement(occurrence, part_maps),
        "parts": {
            name: dataclasses.asdict(match) for name, match in zip(names, matches, strict=True)
        },
    }


def _mean_area(occurrence, part_maps):
    from patchvae_tf.evaluation import part_matching

    matches = part_matching.match_parts(occurrence, part_maps)
    return sum(match.area for match in matches) / len(matches)


def table(result: dict) -> str:
    """The result as a Markdown table."""
    lines = ["| true part | learned part | area under ROC |", "|---|---|---|"]
    lines += [
        f"| {name.replace('_', ' ')} | {'-' if match['learned'] is None else match['learned']} "
        f"| {match['area']:.3f} |"
        for name, match in result["parts"].items()
    ]
    lines += [
        f"| **mean** | | **{result['mean_area']:.3f}** |",
        f"| weakest | | {result['weakest_area']:.3f} |",
        *(f"| mean, {label} | | {result[name]:.3f} |" for name, label in _BESIDE.items()),
        "",
        "| parts of the places | |",
        "|---|---|",
        *(f"| {label} | {result[name]:.3f} |" for name, label in _AGREEMENT.items()),
    ]
    return "\n".join(lines)
