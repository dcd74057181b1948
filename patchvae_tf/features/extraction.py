"""Features of a whole data set by a trained model, as a file for other tools."""

import contextlib
import dataclasses
import itertools
import json
import logging
import pathlib
import shutil
import time
import zlib

import numpy as np
import tqdm

from patchvae_tf import extras, interruption, runs, startup
from patchvae_tf.errors import InputError, RunError
from patchvae_tf.features import computing, sources
from patchvae_tf.features import files as feature_files
from patchvae_tf.features.pooling import Pooling
from patchvae_tf.settings import setting
from patchvae_tf.settings.fields import data_dir_setting
from patchvae_tf.settings.pixels import Pixels, value_range_setting

_PART_EXAMPLES = 4096  # at most: what a kill may cost
_PART_BYTES = 2**28  # at most, of outputs: they are held together until they are written
_NEEDED = {
    "saved_model": "the folder of a run or an export",
    "dataset": "a folder of images, an .npz file or a TFDS name",
    "output": "the file to write",
}

_log = logging.getLogger("patchvae_tf")


@dataclasses.dataclass(frozen=True)
class FeaturesConfig(Pooling):
    """Settings of `python -m export.features`."""

    saved_model: str = setting(
        "",
        "Model",
        "a preset's name or folder; the folder of an exported version, or of its run: then the "
        "newest version; or an .onnx file; needed",
    )
    outputs: str = setting(
        "features",
        "Model",
        "what to keep, with commas: features, feature_map, occurrence, appearance, conv1, conv1_3, "
        "conv1_5",
    )
    image_size: int | None = computing.image_size_setting()
    dataset: str = setting(
        "",
        "Data",
        "a folder of images, a TFDS name, an .npz file with x_train, or 'parts'; needed",
    )
    split: str = setting("train", "Data", "the part of the data set; of a plain folder: train")
    data_dir: str | None = data_dir_setting()
    value_range: str | None = value_range_setting()
    output: str = setting(
        "",
        "Output",
        "file to write; its suffix chooses the format: .npz, .parquet, .tfrecord (sharded); needed",
    )
    batch_size: int | None = setting(
        None,
        "Output",
        "images computed at once (default: 256, fewer if larger than 64 x 64 pixels)",
        minimum=1,
    )

    def check(self) -> None:
        """Raises InputError for a setting that is missing or wrong."""
        for name, what in _NEEDED.items():
            if not getattr(self, name):
                raise InputError(f"{name} is missing. Give {what}.")
        if pathlib.Path(self.output).suffix not in feature_files.WRITERS:
            raise InputError(
                f"output must end in {', '.join(feature_files.WRITERS)}. Received: {self.output}"
            )
        if self.output.endswith(".parquet"):
            extras.require("parquet", "a .parquet file")
        if not self.output_names:
            raise InputError("outputs names nothing. Use e.g. features.")
        changed = [
            field.name
            for field in dataclasses.fields(Pooling)
            if getattr(self, field.name) != field.default
        ]
        if changed and computing.FEATURES not in self.output_names:
            raise InputError(
                f"{changed[0]} says how `features` are made, and outputs={self.outputs} has "
                "none. Leave it out."
            )

    @property
    def output_names(self) -> tuple[str, ...]:
        """The outputs to keep, each once, in the order given."""
        return computing.output_names(self.outputs)


def extract(config: FeaturesConfig, stop_request: interruption.StopRequest | None = None) -> None:
    """Computes the features, or goes on computing them.

    Beside the output a record is written (`OUTPUT.json`); until then rows lie in `.OUTPUT.partial`.

    Args:
        config: FeaturesConfig.
        stop_request: interruption.StopRequest; once it is requested no batch more is computed.
            None for no such.

    Raises:
        InputError: bad settings, model or data, or an output that is there already.
        interruption.Stop: stopped on request; the part in progress is computed again.
        RunError: no image can be read, or the output cannot be written.
    """
    source = sources.find(config.saved_model)
    pixels = Pixels.of(source.channels, config.value_range)
    image_size = computing.checked_size(config.image_size, source)
    source.check([name for name in config.output_names if name != computing.FEATURES])
    how = Pooling.part_of(config)
    if computing.FEATURES in config.output_names:
        how.made_of(source)
    batch_size = config.batch_size or computing.batch_size_of(image_size)
    job = {
        "model": source.digest(),
        **how.to_json(),
        "outputs": list(config.output_names),
        "image_size": image_size,
        "batch_size": batch_size,
        "dataset": config.dataset,
        "split": config.split,
        "data_dir": config.data_dir,
        "value_range": config.value_range,
    }
    output = pathlib.Path(config.output).expanduser()
    record_path = output.with_name(f"{output.name}.json")
    work_path = output.with_name(f".{output.name}.partial")
    record = _finished(job, output, record_path)
    if record is not None:
        _check_images(record, _opened(config, image_size, pixels)[1], output)
        shutil.rmtree(work_path, ignore_errors=True)  # a kill may have left some of it
        print(f"{output} is finished: {record_path} says what it holds")
        return
    if not (work_path / "job.json").exists():
        _check_absent(output)
    with runs.RunFolder(work_path, setting="output") as work:
        work.check("job.json", job, "other settings")

        print(f"{', '.join(config.output_names)} of {config.dataset} by {source.title}", flush=True)
        stream, facts_of_data = _opened(config, image_size, pixels)
        function, shapes = computing.function(source, config.output_names, how, image_size)
        work.check("data.json", facts_of_data, "other images")
        runs.write_json(work_path / "job.json", job)
        runs.write_json(work_path / "data.json", facts_of_data)
        parts = feature_files.Parts(work_path, shapes, stream.labelled, stream.class_names)
        with stop_request.deferred() if stop_request else contextlib.nullcontext():
            images_per_second = _compute(function, stream, parts, batch_size, stop_request)

        skipped = _skipped(stream, parts)
        with _write_errors_named(output):
            written = feature_files.WRITERS[output.suffix](parts, output)
        record = {
            **job,
            **facts_of_data,
            "version": source.title,
            "rows": parts.count,
            "files": [path.name for path in written],
            "shapes": {name: list(shape) for name, shape in shapes.items()},
            "labelled": stream.labelled,
            "class_names": stream.class_names and list(stream.class_names),
            "skipped": skipped,
            "images_per_second": images_per_second,
        }
        runs.write_json(record_path, record)
        shutil.rmtree(work_path)
        print(
            f"wrote {', '.join(map(str, written))}: {record['rows']:,} rows; record: {record_path}"
        )


def _opened(config, image_size, pixels):
    """(stream, what tells its images from others)."""
    # TensorFlow takes seconds to import: not before the settings are known to be right.
    startup.import_tensorflow()
    from patchvae_tf import datasets

    stream = datasets.stream(
        config.dataset,
        config.split,
        image_size=image_size,
        pixels=pixels,
        data_dir=config.data_dir,
    )
    return stream, {"count": len(stream), "keys": _keys_checksum(stream)}


def _finished(job, output, record_path):
    """The record of the output, where this very job made it and all of it is there; else None."""
    try:
        record = json.loads(record_path.read_text(encoding="utf-8"))
        its_own = all(record.get(name) == value for name, value in job.items()) and all(
            (output.parent / name).exists() for name in record["files"]
        )
        return record if its_own else None
    except (OSError, ValueError, AttributeError, KeyError):  # not there, or not as we write it
        return None


def _check_images(record, facts_of_data, output):
    """Raises InputError if a finished output was made of images of other names or number."""
    if any(record.get(name) != value for name, value in facts_of_data.items()):
        raise InputError(
            f"{output} is there already, of other images: {record.get('count')} there, "
            f"{facts_of_data['count']} now, and not of the same names. Remove it and its .json, or "
            "choose another output."
        )


def _check_absent(output):
    """Raises InputError if the output is there: no job that can go on has made it."""
    files = [output, output.with_name(f"{output.name}.json")]
    if any(path.exists() for path in files) or any(output.parent.glob(f"{output.name}-*-of-*")):
        raise InputError(
            f"{output} is there already, with other settings. Remove it and its .json, or choose "
            "another output."
        )


def _compute(function, stream, parts, batch_size, stop_request):
    """Computes the parts that are missing; returns images/s after the first batch, or None."""
    begin = parts.examples_done
    if begin == len(stream):
        return None
    part_examples = _part_examples(parts.row_bytes, batch_size)
    rate = None
    with tqdm.tqdm(total=len(stream), initial=begin, desc="Features", unit=" images") as bar:

        def computed():
            nonlocal rate
            first = None
            for columns in computing.rows(function, stream, batch_size, begin):
                if stop_request and stop_request.requested:
                    raise interruption.Stop(stop_request.requested, "before it was done")
                yield columns
                bar.update(columns["index"][-1] + 1 - bar.n)
                if first is None:
                    first, clock = bar.n, time.perf_counter()
                else:
                    rate = round((bar.n - first) / (time.perf_counter() - clock), 1)

        def part_number(columns):
            return columns["index"][0] // part_examples

        for number, batches in itertools.groupby(computed(), part_number):
            batches = list(batches)
            columns = {
                name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]
            }
            start = number * part_examples
            with _write_errors_named(parts.folder):
                parts.write(start, min(start + part_examples, len(stream)), columns)
    return rate


def _part_examples(row_bytes, batch_size):
    """How many examples are written together: whole batches, as few as memory asks for.

    So a job that was stopped computes the batches of an undisturbed one.
    """
    most = min(_PART_EXAMPLES, _PART_BYTES // row_bytes)
    return max(1, most // batch_size) * batch_size


def _skipped(stream, parts):
    """Keys of the examples that could not be read.

    Raises:
        RunError: there is no other.
    """
    unreadable = np.ones(len(stream), bool)
    for indices in parts.column("index"):
        unreadable[indices] = False
    skipped = [stream.key(index) for index in np.flatnonzero(unreadable)]
    if len(skipped) == len(stream):
        raise RunError(f"none of the {len(stream)} images can be read: give images that can be.")
    if skipped:
        from patchvae_tf.datasets.decoding import unreadable_message

        _log.warning("%s: left out.", unreadable_message(skipped, len(stream)))
    return skipped


def _keys_checksum(stream):
    checksum = 0
    for index in range(len(stream)):
        checksum = zlib.crc32(stream.key(index).encode(), checksum)
    return checksum


@contextlib.contextmanager
def _write_errors_named(path):
    """Turns what fails while writing into a RunError."""
    import tensorflow as tf

    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        raise RunError(
            f"{path} cannot be written ({str(error).splitlines()[0][:200]}). What was computed "
            "before stays: mend it (make room, say), then give the same command to go on."
        ) from error
