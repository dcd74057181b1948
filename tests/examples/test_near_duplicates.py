"""near_duplicates.py finds images that are nearly the same."""

import re

import numpy as np
import pytest

from examples import near_duplicates
from tests.examples.conftest import FORMATS, write_features


@FORMATS
def test_near_duplicates_are_found_and_shown(run, images, outputs, tmp_path, suffix):
    path, output = tmp_path / f"features{suffix}", tmp_path / "found"
    keys = np.array([image.name for image in images])
    write_features(path, {"key": keys, "features": outputs["features"]})
    folder = images[0].parent
    out = run("near_duplicates.py", path, folder, f"--output={output}", "--nearest=3")
    lines = out.splitlines()
    assert lines[0].startswith("31 images, ")
    assert lines[1].split()[1:] == ["02.png", "30.png"]  # the last is the third, a little brighter
    rows = [line.split(",") for line in (tmp_path / "found.csv").read_text().splitlines()]
    assert rows[0] == ["image", "rank", "nearest", "likeness"]
    assert len(rows) == 1 + 31 * 3
    assert rows[1 + 2 * 3][:3] == ["02.png", "1", "30.png"]
    standard = (outputs["features"] - outputs["features"].mean(0)) / outputs["features"].std(0)
    first, other = standard[2], standard[30]
    cosine = first @ other / np.linalg.norm(first) / np.linalg.norm(other)
    assert float(rows[1 + 2 * 3][3]) == pytest.approx(cosine, abs=1e-3)
    page = (tmp_path / "found.html").read_text()
    sources = re.findall(r'src="([^"]+)"', page)
    assert all((tmp_path / source).is_file() for source in sources)
    assert sources[0].endswith("02.png")


def test_the_nearest_are_the_same_however_many_are_compared_at_once(monkeypatch):
    features = np.random.default_rng(0).integers(0, 3, (60, 3)).astype(np.float32)  # with doubles
    indices, likeness, total = near_duplicates.nearest(features, 7, 0.95)
    standard = (features - features.mean(0)) / (features.std(0) + 1e-6)
    standard /= np.linalg.norm(standard, axis=1, keepdims=True) + 1e-12
    cosines = standard @ standard.T
    np.fill_diagonal(cosines, -np.inf)
    expected = np.argsort(-cosines, axis=1, kind="stable")[:, :7]
    np.testing.assert_allclose(likeness, np.take_along_axis(cosines, expected, 1), atol=1e-6)
    assert total == np.count_nonzero(np.triu(cosines >= 0.95))
    assert (np.diff(likeness, axis=1) <= 0).all()
    assert all(len({index, *row}) == 8 for index, row in enumerate(indices))
    monkeypatch.setattr(near_duplicates, "_COMPARED", 1)
    _, again, total_again = near_duplicates.nearest(features, 7, 0.95)
    np.testing.assert_allclose(again, likeness, atol=1e-6)
    assert total_again == total


def test_all_pairs_of_a_cluster_are_counted():
    features = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    features[:20] = features[0] + 1e-3 * features[:20]
    assert near_duplicates.nearest(features, 5, 0.99)[2] == 20 * 19 / 2


def test_near_duplicates_refuse_what_is_wrong(error, images, outputs, tmp_path):
    path = tmp_path / "features.npz"
    keys = np.array([image.name for image in images])
    write_features(path, {"key": keys, "features": outputs["features"]})
    script = "near_duplicates.py"
    assert "has no 00.png: give the folder" in error(script, path, tmp_path)
    assert "--nearest must be at least 1" in error(script, path, images[0].parent, "--nearest=0")
    write_features(path, {"key": keys})
    assert "holds no `key` and `features`" in error(script, path, images[0].parent)
    path.write_text("x")
    assert "cannot be read" in error(script, path, images[0].parent)
