"""The pipeline of `export.beam_features`: from a pattern of files to features and their record."""

import json

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.pvalue import AsDict, AsList, AsSingleton, TaggedOutput

from patchvae_tf.datasets import folder, folder_listing
from patchvae_tf.errors import InputError
from patchvae_tf.features import beam_inference, files
from patchvae_tf.features.beam_job import Job

METRICS = "patchvae"  # the namespace of the counters `images` and `unreadable`

_UNREADABLE = "unreadable"  # the output for what gives no row


def build(pipeline: beam.Pipeline, job: Job) -> None:
    """Adds to a pipeline all that a job computes and writes."""
    found = (
        pipeline
        | "Match" >> fileio.MatchFiles(job.pattern)
        | "Images" >> beam.FlatMap(_images, job.folder)
    )  # (key, metadata of the file)
    counts = (
        found
        | "Class" >> beam.Map(lambda image: folder.class_of(image[0]))
        | "Count" >> beam.combiners.Count.PerElement()
    )
    layout = AsSingleton(
        pipeline
        | "Once" >> beam.Create([None])
        | "Layout" >> beam.Map(lambda _, counts: _layout(counts, job.folder), AsDict(counts))
    )
    read = (
        found
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(_Read(), layout).with_outputs(_UNREADABLE, main="files")
    )
    load = beam_inference.OfFiles(job.model, tuple(job.shapes), job.image_size, job.pixels)
    handler = beam_inference.FunctionHandler(load, job.batch_size)
    answered = (
        read.files
        | "Ask" >> RunInference(KeyedModelHandler(handler))
        | "Sort out" >> beam.ParDo(_SortOut()).with_outputs(_UNREADABLE, main="rows")
    )
    unreadable = (
        (read[_UNREADABLE], answered[_UNREADABLE])
        | "Unreadable" >> beam.Flatten()
        | "Describe" >> beam.Map(_described)
    )
    listed = unreadable | "List" >> beam.io.WriteToText(
        job.unreadable, shard_name_template="", skip_if_empty=True
    )
    written = _written(answered.rows, job)
    sides = {
        "rows": AsSingleton(answered.rows | "Rows" >> beam.combiners.Count.Globally()),
        "unreadable": AsSingleton(unreadable | "Lines" >> beam.combiners.Count.Globally()),
        "shards": AsList(written),
        "listed": AsList(listed),  # waited for
        "layout": layout,
    }
    pipeline | "Job" >> beam.Create([job]) | "Record" >> beam.Map(_write_record, **sides)


def _images(metadata, root):
    """Yields (path within `root`, metadata) of a file whose name is an image's."""
    key = metadata.path[len(root) :].lstrip("/")
    *_, name = names = key.split("/")
    is_image = name.lower().endswith(folder_listing.SUFFIXES)
    if is_image and not any(map(folder_listing.is_left_behind, names)):
        yield key, metadata


def _layout(counts, root):
    """(class names or None, whether images beside the class folders are left out)."""
    names = sorted(name for name in counts if name)
    if folder.are_splits(names):
        raise InputError(
            f"input {root} holds the splits {', '.join(names)}, not classes. Give one of them: "
            f"{root}/{names[-1]}"
        )
    leaves_out = folder.are_left_out(counts)
    has_classes = leaves_out or "" not in counts
    return names if has_classes else None, leaves_out


class _Read(beam.DoFn):
    """(key, metadata) -> ((key, label or None), the file's bytes)."""

    def process(self, image, layout):
        key, metadata = image
        names, leaves_out = layout
        name = folder.class_of(key)
        if leaves_out and not name:
            return
        label = names.index(name) if names else None
        try:
            yield (key, label), fileio.ReadableFile(metadata).read()
        except OSError as error:
            yield TaggedOutput(_UNREADABLE, (key, str(error)))


class _SortOut(beam.DoFn):
    """((key, label), answer) -> (key, label, dict output -> array), where the file was an image."""

    def __init__(self):
        super().__init__()
        self._images = Metrics.counter(METRICS, "images")

    def process(self, answer):
        (key, label), outputs = answer
        if outputs.pop("valid"):
            self._images.inc()
            yield key, label, outputs
        else:
            yield TaggedOutput(_UNREADABLE, (key, "no image that can be read"))


def _described(unreadable):
    Metrics.counter(METRICS, "unreadable").inc()
    key, reason = unreadable
    return json.dumps({"key": key, "reason": reason})


def _written(rows, job):
    """Writes (key, label, outputs); returns the shards' paths. Each appears when it is whole."""
    if job.output.endswith(".tfrecord"):
        examples = rows | "Examples" >> beam.MapTuple(files.example)
        return examples | "Write" >> beam.io.WriteToTFRecord(job.output)

    def columns(key, label, outputs):
        flat = {name: output.ravel() for name, output in outputs.items()}
        return {"key": key, "label": label, **flat}

    schema = files.parquet_schema(job.shapes, labelled=True)
    writer = beam.io.WriteToParquet(job.output, schema)
    return rows | "Columns" >> beam.MapTuple(columns) | "Write" >> writer


def _write_record(job, rows, unreadable, shards, listed, layout):
    if not rows:
        return
    record = {
        "saved_model": job.model,
        "image_size": job.image_size,
        "input": job.pattern,
        "rows": rows,
        "unreadable": unreadable,
        "files": sorted(FileSystems.split(path)[1] for path in shards),
        "shapes": {name: list(shape) for name, shape in job.shapes.items()},
        "class_names": layout[0],
    }
    partial = f"{job.record}.partial"
    with FileSystems.create(partial, "application/json") as file:
        file.write(json.dumps(record, indent=2).encode() + b"\n")
    if FileSystems.exists(job.record):  # a runner may do a step twice
        FileSystems.delete([job.record])
    FileSystems.rename([partial], [job.record])
