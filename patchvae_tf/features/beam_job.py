"""`export.beam_features` as its user meets it: settings, checks, the run, what came of it."""

import dataclasses
import json
import logging
import os
import pathlib
import re
import shutil
from collections.abc import Sequence

from patchvae_tf import extras, startup
from patchvae_tf.errors import InputError, RunError
from patchvae_tf.features import computing, sources
from patchvae_tf.features.pooling import Pooling
from patchvae_tf.settings import Settings, setting
from patchvae_tf.settings.pixels import Pixels, value_range_setting

_SUFFIXES = (".parquet", ".tfrecord")
_NEEDED = {
    "saved_model": "a preset, the folder of a run or an export, or an .onnx file",
    "input": "a folder of images, or a pattern of files",
    "output": "what the files are to be called",
}


@dataclasses.dataclass(frozen=True)
class BeamConfig(Settings):
    """Settings of `python -m export.beam_features`."""

    saved_model: str | None = setting(
        None,
        "Model",
        "a preset's name or folder; the folder of an exported version, or of its run; elsewhere "
        "than on this machine (gs://...) of a version; or an .onnx file; needed",
    )
    outputs: str = setting(
        "features",
        "Model",
        "what to keep, with commas: features, feature_map, occurrence, appearance, conv1, conv1_3, "
        "conv1_5",
    )
    image_size: int | None = computing.image_size_setting()
    input: str | None = setting(
        None, "Data", "a folder of images, or a pattern of files (FOLDER/**.jpg); needed"
    )
    value_range: str | None = value_range_setting()
    output: str | None = setting(
        None,
        "Output",
        "what the files are called; the suffix chooses the format: .parquet, .tfrecord; needed",
    )
    runner: str = setting("DirectRunner", "Beam", "Beam's runner; DirectRunner: this machine")

    def check(self) -> None:
        """Raises InputError for a setting that is missing or wrong."""
        for name, what in _NEEDED.items():
            if not getattr(self, name):
                raise InputError(f"{name} is missing. Give {what}.")
        if not str(self.output).endswith(_SUFFIXES):
            raise InputError(
                f"output must end in {' or '.join(_SUFFIXES)}. Received: {self.output}"
            )
        if not computing.output_names(self.outputs):
            raise InputError("outputs names nothing. Use e.g. features.")
        extras.require("beam", "export.beam_features")


@dataclasses.dataclass(frozen=True)
class Job:
    """What is computed from what, and where it is written.

    Attributes:
        folder: str, what the keys are relative to.
        pattern: str, of the files, as Beam matches them.
        model: str, what `sources.find` takes, from any folder.
        image_size: int, side in pixels to which images are brought.
        pixels: Pixels that the model takes.
        shapes: dict output -> shape of a row.
        batch_size: int, images computed at once.
        output: str, ends in .parquet or .tfrecord; the files are called OUTPUT-00000-of-00001.
    """

    folder: str
    pattern: str
    model: str
    image_size: int
    pixels: Pixels
    shapes: dict
    batch_size: int
    output: str

    @property
    def unreadable(self) -> str:
        """Where the files that cannot be read are listed, a line of JSON each."""
        return f"{self.output}.unreadable.jsonl"

    @property
    def record(self) -> str:
        """What is written last: the output is whole when it is there."""
        return _record_of(self.output)


def compute(config: BeamConfig, beam_options: Sequence[str] = ()) -> dict[str, int]:
    """Computes the features of all files, by Beam.

    Args:
        config: BeamConfig.
        beam_options: Beam's own, "--name=value" each.

    Returns:
        dict: what Beam counted, `images` and `unreadable`.

    Raises:
        InputError: bad settings, model or input, or an output that is there already.
        RunError: the pipeline failed, or no image can be read.
    """
    assert config.saved_model  # `check` has seen that they are there
    assert config.input
    assert config.output
    from apache_beam.io.filesystems import FileSystems

    source = sources.find(config.saved_model)
    assert source.address  # it was not given as a model in memory
    image_size = computing.checked_size(config.image_size, source)
    pixels = Pixels.of(source.channels, config.value_range)
    names = computing.output_names(config.outputs)
    source.check(names)
    folder, pattern = _folder_and_pattern(_absolute(config.input))
    output = _absolute(config.output)
    _check_there(pattern, output, FileSystems)

    # TensorFlow takes seconds to import: not before the settings are known to be right.
    startup.import_tensorflow()
    _check_channels(source)
    _, shapes = computing.function(source, names, Pooling(), image_size)
    job = Job(
        folder=folder,
        pattern=pattern,
        model=source.address,
        image_size=image_size,
        pixels=pixels,
        shapes=shapes,
        batch_size=computing.batch_size_of(image_size),
        output=output,
    )
    _clear(job, FileSystems)
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from patchvae_tf.features import beam_pipeline

    # What a worker in this process fails at comes back as an error; its trace helps no user.
    logging.getLogger("apache_beam.runners.worker").setLevel(logging.CRITICAL)
    print(f"{', '.join(job.shapes)} of {pattern} by {source.title}", flush=True)
    try:
        options = PipelineOptions([f"--runner={config.runner}", *beam_options])
        pipeline = beam.Pipeline(options=options)
        beam_pipeline.build(pipeline, job)
        result = pipeline.run()
        result.wait_until_finish()
    except Exception as error:  # whatever a runner raises
        raise RunError(
            f"the pipeline failed ({str(error).strip().splitlines()[-1][:300]}). Mend "
            "that, then give the same command: it begins anew."
        ) from error
    if not FileSystems.exists(job.record):
        raise RunError(f"no image of {pattern} can be read: give images that can be.")
    with FileSystems.open(job.record) as file:
        record = json.loads(file.read())
    print(f"wrote {len(record['files'])} files: {record['rows']:,} rows; record: {job.record}")
    if record["unreadable"]:
        print(f"{record['unreadable']:,} files cannot be read: {job.unreadable} names them")
    counters = result.metrics().query(
        beam.metrics.MetricsFilter().with_namespace(beam_pipeline.METRICS)
    )["counters"]
    return {counter.key.metric.name: counter.result for counter in counters}


def _record_of(output):
    return f"{output}.json"


def _absolute(path):
    path = str(path)
    return path.rstrip("/") if "://" in path else os.path.abspath(os.path.expanduser(path))


def _folder_and_pattern(path):
    wildcard = re.search(r"[*?]", path)
    if wildcard:
        return path[: wildcard.start()].rpartition("/")[0], path
    return path, f"{path}/**"


def _check_channels(source):
    from patchvae_tf.datasets.preprocessing import ENCODED_CHANNELS

    if source.channels not in ENCODED_CHANNELS:
        raise InputError(
            f"{source.title} takes images of {source.channels} channels, and Beam reads files of "
            "1, 3 or 4. Use patchvae features."
        )


def _check_there(pattern, output, file_systems):
    """Raises InputError where there is no file, or the output."""
    try:
        (matched,) = file_systems.match([pattern], limits=[1])
        is_there = file_systems.exists(_record_of(output))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{pattern} or {output} cannot be reached "
            f"({str(error).splitlines()[0][:200]}). Mend input or output."
        ) from error
    if not matched.metadata_list:
        raise InputError(f"input {pattern} matches no file. Give a folder of images.")
    if is_there:
        raise InputError(
            f"{output} is there already. Remove {_record_of(output)} and what it names, or choose "
            "another output."
        )


def _clear(job, file_systems):
    """Removes what a job left that was killed: files without a record, and Beam's folders."""
    matches = file_systems.match([f"{job.output}-?????-of-?????", job.unreadable])
    paths = [metadata.path for match in matches for metadata in match.metadata_list]
    if paths:
        file_systems.delete(paths)
    folder = pathlib.Path(job.output).parent
    if folder.is_dir():  # on this machine
        names = "|".join(re.escape(os.path.basename(path)) for path in (job.output, job.unreadable))
        own = re.compile(rf"beam-temp-({names})-[0-9a-f]{{32}}")
        for path in folder.iterdir():
            if own.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)
