"""Whether the number that needs no ground truth ranks trainings as the true score of their parts.

Many short trainings, on images whose parts are known, in settings that find them well and badly. Of
each: how well the maps of two views of held-out images agree (`part_agreement`, which every run
shows), and the mean ROC area of the true parts. One line of JSON a training goes to `--output`;
what stands there is not done again. Printed is Spearman's rank correlation of the two, over the
trainings of these images, steps and seed.
"""

import dataclasses
import json
import pathlib

from patchvae_tf import extras
from patchvae_tf.command_line import console
from patchvae_tf.settings import Settings, setting

USAGE = """\
python -m benchmarks.part_agreement [--steps=250]
python -m benchmarks.part_agreement --dataset=FILE.npz --image_size=64
"""


def _parts(**settings):
    """The recipe `parts` with templates that teach for 100 steps, and something changed."""
    return {"recipe": "parts", "template_steps": 100, **settings}


# Name -> settings; all train as many steps of 32 images.
VARIANTS = {
    "parts": _parts(),
    "parts, upright and whole": _parts(rotation=0.0, scaling=1.0, translation=0.0, mask_share=0.0),
    "parts, nothing hidden": _parts(mask_share=0.0),
    "parts, no templates": _parts(template_steps=0),
    "parts, templates to the end": _parts(template_steps=1_000_000),
    "parts, hardly taught": _parts(teaching_weight=1.0),
    "parts, windows half as large": _parts(part_side=0.22),
    "parts, windows twice as large": _parts(part_side=0.9),
    "parts, 8": _parts(num_parts=8),
    "agreement": {"recipe": "agreement"},
    "masked": {"recipe": "masked"},
    "paper": {"recipe": "paper"},
}
_BATCH = 32


def run(settings: dict, training, test, steps: int, seed: int) -> dict:
    """Trains and measures.

    Args:
        settings: dict for `PatchVAE.from_recipe`.
        training, test: `part_truths.PartTruths`; the true parts of `training` are not looked at.
        steps: int, of 32 images.
        seed: int.

    Returns:
        dict: what `part_consistency.summary` gives, `mean_area`, `weakest_area`, `steps_taken`.
    """
    import keras

    from patchvae_tf import PatchVAE
    from patchvae_tf.evaluation import features, part_consistency, parts_score

    images = training.images
    epochs = -(-steps * _BATCH // len(images))
    images = images[: steps * _BATCH // epochs]
    model = PatchVAE.from_recipe(
        **settings, image_size=images.shape[1], batch_size=_BATCH, epochs=epochs, seed=seed
    )
    model.fit(images, verbose=0)
    found = part_consistency.PartConsistency(model, test.images, seed).measure()
    maps = features.occurrence_maps(model, test.images)
    true = parts_score.score_maps(maps, test.part_maps, test.names)
    taken = int(model.optimizer.iterations)
    keras.backend.clear_session()
    return {
        **found,
        "mean_area": true["mean_area"],
        "weakest_area": true["weakest_area"],
        "steps_taken": taken,
    }


def rank_correlation(one: list[float], other: list[float]) -> float:
    """Spearman's, in [-1, 1]."""
    from scipy import stats

    return float(stats.spearmanr(one, other).statistic)


@dataclasses.dataclass(frozen=True)
class PartAgreementConfig(Settings):
    """Settings of `python -m benchmarks.part_agreement`."""

    dataset: str = setting("parts", "Data", "parts, or an .npz file as of patchvae parts")
    image_size: int = setting(32, "Data", "side of the images in pixels", minimum=8)
    steps: int = setting(250, "Training", "of 32 images, of each variant, about", minimum=1)
    seed: int = setting(0, "Training", "of weights and draws", minimum=0)
    output: str = setting(
        "runs/part_agreement.jsonl", "Output", "file of JSON lines, a training each"
    )


def main(stop_request, given):
    """Runs the variants that are not in the output yet."""
    del stop_request  # a training that was stopped is done again
    extras.require("report", "the rank correlation")
    from patchvae_tf.evaluation import part_truths

    where = {"image_size": given.image_size, "stride": 8, "seed": 0}
    training = part_truths.load(given.dataset, "train", **where)
    test = part_truths.load(given.dataset, "test", **where)
    output = pathlib.Path(given.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    records = (
        [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
    )
    alike = {key: getattr(given, key) for key in ("dataset", "image_size", "steps", "seed")}
    records = [record for record in records if alike.items() <= record.items()]
    for name, settings in VARIANTS.items():
        if any(record["variant"] == name for record in records):
            continue
        found = run(settings, training, test, given.steps, given.seed)
        records.append({"variant": name, **alike, **found})
        with open(output, "a") as file:
            file.write(json.dumps(records[-1]) + "\n")
        print(f"{name}: parts agree {found['part_agreement']:.3f}, area {found['mean_area']:.3f}")
    columns = ([record[key] for record in records] for key in ("part_agreement", "mean_area"))
    print(f"rank correlation of {len(records)} trainings: {rank_correlation(*columns):.2f}")


if __name__ == "__main__":
    console.run(main, USAGE, PartAgreementConfig)
