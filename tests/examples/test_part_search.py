"""part_search.py finds the part of a patch in other images."""

import re

import numpy as np
import pytest

from tests.examples.conftest import FORMATS, write_features


@FORMATS
def test_part_search_finds_the_part_of_the_patch(
    run, patch_vae_version, images, outputs, tmp_path, suffix
):
    keys = [path.name for path in images]
    occurrence, appearance = outputs["occurrence"], outputs["appearance"]
    columns = {"key": np.array(keys), "occurrence": occurrence, "appearance": appearance}
    write_features(tmp_path / f"parts{suffix}", columns)
    arguments = (patch_vae_version, tmp_path / f"parts{suffix}", images[2], 1, 0)
    head, *lines = run("part_search.py", *arguments).splitlines()
    part = occurrence[2, 1, 0].argmax()
    assert head.startswith(f"part {part} occurs at row 1, column 0 of {images[2]} with probability")
    assert f"{occurrence[2, 1, 0, part]:.2f}" in head
    # The image itself, then its brighter copy, and after them what is farther.
    assert lines[0].startswith("02.png: distance 0.00, probability ")
    assert lines[1].startswith("30.png: distance 0.")
    distances = [float(re.search(r"distance ([\d.]+)", line)[1]) for line in lines]
    assert distances == sorted(distances)
    assert distances[2] > 2 * distances[1]
    scale = appearance[:, part].std(axis=0)
    for line, distance in zip(lines, distances, strict=True):
        index = keys.index(line.split(":")[0])
        difference = (appearance[index, part] - appearance[2, part]) / scale
        assert distance == pytest.approx(np.sqrt(np.mean(difference**2)), abs=0.006)
        row, column = np.unravel_index(occurrence[index, ..., part].argmax(), (2, 2))
        highest = occurrence[index, ..., part].max()
        assert line.endswith(f"probability {highest:.2f} at row {row}, column {column}")


def test_part_search_looks_where_the_part_occurs(
    run_anew, patch_vae_version, images, outputs, tmp_path
):
    occurrence = np.full((31, 2, 2, 4), 0.1, np.float32)
    occurrence[5:8, 0, 1, 3] = 0.9
    columns = {
        "key": np.array([path.name for path in images]),
        "occurrence": occurrence,
        "appearance": outputs["appearance"],
    }
    write_features(tmp_path / "parts.npz", columns)
    search = (patch_vae_version, tmp_path / "parts.npz", images[2], 0, 0)
    assert outputs["occurrence"][2, ..., 3].max() > 0.2
    _, *lines = run_anew("part_search.py", *search, 3, "--count=5").splitlines()
    assert {line.split(":")[0] for line in lines} == {"05.png", "06.png", "07.png"}
    assert all(line.endswith("probability 0.90 at row 0, column 1") for line in lines)


def test_part_search_tells_what_is_wrong(
    error, patch_vae_version, beta_vae_version, images, outputs, tmp_path
):
    columns = {"key": np.array([path.name for path in images])}
    write_features(tmp_path / "keys.parquet", columns)
    columns |= {name: outputs[name] for name in ("occurrence", "appearance")}
    write_features(tmp_path / "parts.parquet", columns)
    columns["occurrence"] = columns["occurrence"][:, :1]
    write_features(tmp_path / "other.parquet", columns)
    (tmp_path / "text.png").write_text("text")
    good = [patch_vae_version, tmp_path / "parts.parquet", images[0], 0, 0]
    for changes, message in (
        ({0: tmp_path}, "SavedModel file does not exist"),
        ({0: beta_vae_version}, "it is no PatchVAE"),
        ({1: tmp_path / "absent.npz"}, "cannot be read: "),
        ({1: tmp_path / "keys.parquet"}, "holds no `occurrence`: make it of a PatchVAE"),
        ({1: tmp_path / "other.parquet"}, "take one model for both"),
        ({2: tmp_path / "text.png"}, "is not an image that can be read"),
        ({2: tmp_path / "absent.png"}, "No such file or directory"),
        ({3: 2}, "ROW must be one of 0 ... 1. Received: 2."),
        ({4: -1}, "COLUMN must be one of 0 ... 1. Received: -1."),
        ({5: 4}, "PART must be one of 0 ... 3. Received: 4."),
    ):
        arguments = [changes.get(index, value) for index, value in enumerate([*good, 0])]
        assert message in error("part_search.py", "--", *arguments)
