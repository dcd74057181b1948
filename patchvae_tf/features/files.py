"""Features on disk: parts while they are computed, then one file in the format asked for.

A row is an example: its `key`, its `label` where the data set has labels, and the outputs.
"""

import dataclasses
import json
import math
import pathlib
import typing
import zipfile
from collections.abc import Iterator

import numpy as np

from patchvae_tf import runs

if typing.TYPE_CHECKING:
    import pyarrow as pa

_SHARD_BYTES = 100_000_000


@dataclasses.dataclass(frozen=True)
class Parts:
    """The rows that are computed so far, a file for each stretch of examples.

    Attributes:
        folder: pathlib.Path.
        shapes: dict output -> shape of a row, in order.
        labelled: bool, whether rows have labels.
        class_names: names by label, or None.
    """

    folder: pathlib.Path
    shapes: dict
    labelled: bool
    class_names: tuple | None

    @property
    def row_bytes(self) -> int:
        """int, bytes of a row's outputs, which are float32."""
        return 4 * sum(map(math.prod, self.shapes.values()))

    @property
    def paths(self) -> list[pathlib.Path]:
        """In order."""
        return sorted(self.folder.glob("part-*.npz"))

    @property
    def examples_done(self) -> int:
        """int, examples whose rows are here, unreadable ones included."""
        paths = self.paths
        return int(paths[-1].stem.split("-")[2]) if paths else 0

    def write(self, start: int, stop: int, columns: dict[str, typing.Any]) -> None:
        """Writes the rows of examples `start` to `stop`: a dict column -> array of rows."""
        path = self.folder / f"part-{start:012d}-{stop:012d}.npz"
        with runs.replaced_when_whole(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **columns)

    def column(self, name: str) -> Iterator[np.ndarray]:
        """Yields a column's rows, part by part."""
        for path in self.paths:
            with np.load(path) as part:
                yield part[name]

    @property
    def count(self) -> int:
        """int, number of rows."""
        return sum(len(indices) for indices in self.column("index"))


def write_npz(parts: Parts, path: pathlib.Path) -> list[pathlib.Path]:
    """One array a column; `class_names` too where there are."""
    columns = {"key": _widest(parts.column("key")), **dict.fromkeys(parts.shapes, np.float32)}
    if parts.labelled:
        columns["label"] = np.int64
    rows = parts.count
    with (
        runs.replaced_when_whole(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, dtype in columns.items():
            with _member(archive, name) as member:
                header = {
                    "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
                    "fortran_order": False,
                    "shape": (rows, *parts.shapes.get(name, ())),
                }
                np.lib.format.write_array_header_2_0(member, header)
                for array in parts.column(name):
                    member.write(np.ascontiguousarray(array, dtype).tobytes())
        if parts.class_names:
            with _member(archive, "class_names") as member:
                np.lib.format.write_array(member, np.array(parts.class_names))
    return [path]


def _member(archive, name):
    # A fixed date: the same rows give the same file.
    information = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    return archive.open(information, "w", force_zip64=True)


def _widest(arrays):
    return max((array.dtype for array in arrays), key=lambda dtype: dtype.itemsize, default="<U1")


def write_parquet(parts: Parts, path: pathlib.Path) -> list[pathlib.Path]:
    """Fixed-size lists of float32, flattened.

    The metadata of a column holds its `shape`, that of the table `class_names`, both as JSON.
    """
    import pyarrow as pa
    import pyarrow.parquet

    schema = parquet_schema(parts.shapes, parts.labelled, parts.class_names)
    with (
        runs.replaced_when_whole(path) as temporary,
        pyarrow.parquet.ParquetWriter(temporary, schema) as writer,
    ):
        for part_path in parts.paths:  # a row group each
            with np.load(part_path) as part:
                columns = [
                    pa.FixedSizeListArray.from_arrays(part[field.name].ravel(), type=field.type)
                    if field.name in parts.shapes
                    else pa.array(part[field.name])
                    for field in schema
                ]
            writer.write_table(pa.table(columns, schema=schema))
    return [path]


def parquet_schema(shapes: dict, labelled: bool, class_names: tuple | None = None) -> "pa.Schema":
    """The `pyarrow.Schema` of a file of features; the arguments are attributes of `Parts`."""
    import pyarrow as pa

    fields = [pa.field("key", pa.string())]
    if labelled:
        fields.append(pa.field("label", pa.int64()))
    fields += [
        pa.field(
            name,
            pa.list_(pa.float32(), math.prod(shape)),
            metadata={"shape": json.dumps(shape)},
        )
        for name, shape in shapes.items()
    ]
    names = {"class_names": json.dumps(class_names)} if class_names else None
    return pa.schema(fields, metadata=names)


def write_tfrecord(parts: Parts, path: pathlib.Path) -> list[pathlib.Path]:
    """`tf.train.Example`s in shards of some 100 MB: bytes, int64 and flattened float lists."""
    import tensorflow as tf

    rows = parts.count
    shards = max(1, math.ceil(rows * parts.row_bytes / _SHARD_BYTES))
    examples = _examples(parts)
    paths = []
    for shard in range(shards):
        paths.append(path.with_name(f"{path.name}-{shard:05d}-of-{shards:05d}"))
        first, last = (rows * number // shards for number in (shard, shard + 1))
        with (
            runs.replaced_when_whole(paths[-1]) as temporary,
            tf.io.TFRecordWriter(str(temporary)) as writer,
        ):
            for _ in range(first, last):
                writer.write(next(examples))
    return paths


def _examples(parts):
    """Yields the rows as serialised `tf.train.Example`s."""
    for path in parts.paths:
        with np.load(path) as part:
            columns = dict(part)
        for row, key in enumerate(columns["key"]):
            label = columns["label"][row] if parts.labelled else None
            yield example(str(key), label, {name: columns[name][row] for name in parts.shapes})


def example(key: str, label: int | None, outputs: dict[str, np.ndarray]) -> bytes:
    """A row as a serialised `tf.train.Example`; None: no label."""
    import tensorflow as tf

    example = tf.train.Example()
    feature = example.features.feature
    feature["key"].bytes_list.value.append(key.encode())
    if label is not None:
        feature["label"].int64_list.value.append(label)
    for name, output in outputs.items():
        feature[name].float_list.value.extend(output.ravel())
    return example.SerializeToString(deterministic=True)


WRITERS = {".npz": write_npz, ".parquet": write_parquet, ".tfrecord": write_tfrecord}
