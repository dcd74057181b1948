"""How well a PatchVAE's parts find the true ones, on the generated images `parts`."""

import dataclasses
import pathlib

from patchvae_tf import extras, runs, startup
from patchvae_tf.errors import InputError
from patchvae_tf.settings import Settings, setting

_MAP_STRIDE = 8  # pixels per place of `ImageSet.part_maps`


@dataclasses.dataclass(frozen=True)
class PartsScoreConfig(Settings):
    """Settings of `python -m trainers.parts_score`."""

    run_dir: str | None = setting(None, "Score", "folder of a finished run of patchvae; needed")
    split: str = setting("test", "Score", "the part of `parts`", choices=("train", "test"))

    def check(self):
        """Raises InputError for a setting that is missing or wrong."""
        if not self.run_dir:
            raise InputError("--run_dir is missing. Give the folder of a finished run.")


def score_run(config: PartsScoreConfig) -> None:
    """Scores a finished run; writes `parts_score.json` into its folder, and prints the table.

    Args:
        config: PartsScoreConfig.

    Raises:
        InputError: no such run, or one without parts.
    """
    extras.require("report", "the score")
    run_dir = pathlib.Path(config.run_dir).expanduser()
    record = runs.read_record(run_dir)
    if record is not None and record["settings"]["model"] != "patchvae":
        raise InputError(
            f"{run_dir} is a run of {record['settings']['model']}, which has no parts. "
            "Give a run of patchvae."
        )
    seed = record["settings"]["seed"] if record else 0

    startup.import_tensorflow()
    import patchvae_tf

    model = patchvae_tf.load_model(run_dir)
    if model.stride != _MAP_STRIDE:
        raise InputError(
            f"{run_dir} has a stride of {model.stride}; the maps of the true parts have "
            f"{_MAP_STRIDE}. Give a run with --stride={_MAP_STRIDE}."
        )
    result = score(model, config.split, seed)
    runs.write_json(run_dir / "parts_score.json", result)
    print(table(result))


def score(model, split, seed):
    """Scores a model's occurrence maps.

    Args:
        model: PatchVAE.
        split: str, "train" or "test".
        seed: int, of the scenes, the untrained model and the dealing.

    Returns:
        dict: `mean_area`, `untrained_mean_area`, `shuffled_mean_area` in [0, 1], `split`, `images`,
        and `parts`: dict name -> dict of `learned`, `area`.
    """
    import tensorflow as tf

    from patchvae_tf import datasets, noise
    from patchvae_tf.evaluation import features, part_matching

    scenes = datasets.load("parts", split, image_size=model.image_size, seed=seed)
    noise.set_first_weights(seed)
    untrained = type(model).from_config(model.get_config())
    order_seed = noise.fold_in(noise.step_seed(seed, 0), noise.Purpose.DEALING)
    order = noise.shuffled(tf.range(len(scenes), dtype=tf.int64), order_seed, len(scenes)).numpy()

    occurrence = features.occurrence_maps(model, scenes.images)
    matches = part_matching.match_parts(occurrence, scenes.part_maps)
    floors = {
        "untrained_mean_area": features.occurrence_maps(untrained, scenes.images),
        "shuffled_mean_area": occurrence[order],
    }
    return {
        "mean_area": _mean_area(matches),
        **{
            name: _mean_area(part_matching.match_parts(maps, scenes.part_maps))
            for name, maps in floors.items()
        },
        "split": split,
        "images": len(scenes),
        "parts": {
            name: dataclasses.asdict(match)
            for name, match in zip(datasets.PART_NAMES, matches, strict=True)
        },
    }


def _mean_area(matches):
    return sum(match.area for match in matches) / len(matches)


def table(result):
    """The result as a Markdown table."""
    lines = ["| true part | learned part | area under ROC |", "|---|---|---|"]
    lines += [
        f"| {name.replace('_', ' ')} | {'-' if match['learned'] is None else match['learned']} "
        f"| {match['area']:.3f} |"
        for name, match in result["parts"].items()
    ]
    lines += [
        f"| **mean** | | **{result['mean_area']:.3f}** |",
        f"| mean, untrained model | | {result['untrained_mean_area']:.3f} |",
        f"| mean, maps dealt to other images | | {result['shuffled_mean_area']:.3f} |",
    ]
    return "\n".join(lines)
