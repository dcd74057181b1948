"""What a run has learned, as one page of pictures that opens anywhere."""

import dataclasses
import logging
import pathlib
import time
import typing

from patchvae_tf import extras, runs, startup
from patchvae_tf.errors import InputError
from patchvae_tf.report import page as report_page
from patchvae_tf.settings import Settings, setting
from patchvae_tf.settings.fields import data_dir_setting
from patchvae_tf.settings.pixels import Pixels, parsed_channels

if typing.TYPE_CHECKING:
    import keras

_BATCH_PIXELS = 2**18  # of the images that are looked at together
_STRETCHES = 16  # in which a part of a large data set is read, so that it is of all of it
_DOTS = 150  # an inch, of the PNG files


@dataclasses.dataclass(frozen=True)
class ReportConfig(Settings):
    """Settings of `python -m trainers.report`."""

    run_dir: str | None = setting(None, "Report", "folder of a finished run; needed")
    dataset: str | None = setting(
        None, "Report", "the images to look at, as of the trainer (default: the run's data set)"
    )
    data_dir: str | None = data_dir_setting("the run's")
    split: str | None = setting(
        None, "Report", "the part of the data set (default: test where there is one, else train)"
    )
    max_images: int = setting(
        50_000, "Report", "the most images to look at, spread over the data set", minimum=1
    )

    def check(self) -> None:
        """Raises InputError for a setting that is missing or wrong."""
        if not self.run_dir:
            raise InputError("run_dir is missing. Give the folder of a finished run.")


def write(config: ReportConfig, model: "keras.Model | None" = None) -> pathlib.Path:
    """Draws the pictures and writes the report.

    Args:
        config: ReportConfig.
        model: the run's model, or None to read it from the folder.

    Returns:
        pathlib.Path of `report.html`.

    Raises:
        InputError: no finished run, or no images.
    """
    start = time.monotonic()
    extras.require("report", "the report")
    run_dir = runs.finished(config.run_dir)
    record = runs.read_record(run_dir) or {"settings": {}, "data": {}, "result": None}
    settings = record["settings"]
    dataset = config.dataset or settings.get("dataset")
    if dataset is None:
        raise InputError(f"{run_dir} does not say its data set: give dataset.")

    # TensorFlow takes seconds to import: not before the settings are known to be right.
    startup.import_tensorflow()
    import patchvae_tf
    from patchvae_tf import visualization
    from patchvae_tf.report import pictures as report_pictures
    from patchvae_tf.report import projector

    model = model or patchvae_tf.load_model(run_dir)
    data = {
        "image_size": model.image_size,
        "pixels": Pixels.of(model.channels, settings.get("value_range")),
        "data_dir": config.data_dir or settings.get("data_dir"),
        "seed": settings.get("seed", 0),
    }
    split, stream = _open(dataset, config.split, data)
    survey = visualization.survey(
        model,
        _batches(stream, model.image_size, config.max_images),
        key=stream.key,
        class_names=stream.class_names,
    )
    looked_at = f"{survey.count:,} images of {dataset}, {split}"
    folder = run_dir / "pictures"
    folder.mkdir(exist_ok=True)
    shown = parsed_channels(settings.get("shown_channels"), model.channels)
    with visualization.channels_shown(shown):
        sections = [
            (section, *_drawn(section, folder))
            for section in report_pictures.sections(
                model, survey, run_dir, settings, dataset, split
            )
        ]
        projector.write(run_dir / "tensorboard", survey)
    page = report_page.page(record, report_pictures.verdict(survey), looked_at, sections)
    runs.write_json(run_dir / "report.json", _numbers(survey, dataset, split))
    path = run_dir / "report.html"
    with runs.replaced_when_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
    print(f"report on {looked_at}: {path} ({time.monotonic() - start:.0f} s)", flush=True)
    return path


def _drawn(section, folder):
    """(paragraphs, PNG bytes, width in CSS pixels); without a picture, why there is none, None, 0.

    Whatever one picture lacks, the others are drawn.
    """
    path = folder / f"{section.name}.png"
    try:
        paragraphs, figure = section.draw()
        with runs.replaced_when_whole(path) as temporary:
            figure.savefig(temporary, format="png", dpi=_DOTS)
        return paragraphs, path.read_bytes(), round(figure.get_figwidth() * 100)
    except Exception as error:
        path.unlink(missing_ok=True)  # an older report's
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        reason = f"No picture: {reason.rstrip('.')}."
        logging.getLogger("patchvae_tf").warning("%s: %s", section.title, reason)
        return [reason], None, 0


def _numbers(survey, dataset, split):
    """What the page says of the parts, for programs."""
    return {
        "dataset": dataset,
        "split": split,
        "images": survey.count,
        "mean_probability": survey.rate.round(6).tolist(),
        "share_of_images": survey.present.round(6).tolist(),
        "dead": survey.dead,
        "always_on": survey.always_on,
    }


def _open(dataset, split, data):
    """(split, stream): of the split, or of test where there is one, else of train."""
    from patchvae_tf import datasets

    if split is not None:
        return split, datasets.stream(dataset, split, **data)
    try:
        return "test", datasets.stream(dataset, "test", **data)
    except InputError:
        return "train", datasets.stream(dataset, "train", **data)


def _batches(stream, image_size, most):
    """The stream's batches, or those of `most` examples in stretches spread over it, with a bar."""
    import tqdm

    batch_size = max(8, min(256, _BATCH_PIXELS // image_size**2))
    count = min(most, len(stream))
    stretches = 1 if count == len(stream) else min(_STRETCHES, count)
    with tqdm.tqdm(total=count, desc="Looking at images", unit=" images", delay=2) as bar:
        for number in range(stretches):
            taken, next_taken = (count * k // stretches for k in (number, number + 1))
            start = taken + (len(stream) - count) * number // max(stretches - 1, 1)
            end = start + next_taken - taken
            for indices, images, labels in stream.batches(batch_size, start):
                inside = indices < end
                if inside.any():
                    bar.update(int(inside.sum()))
                    yield indices[inside], images[inside], labels[inside]
                if indices[-1] >= end - 1:
                    break
