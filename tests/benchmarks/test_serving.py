"""The measuring is right; what it measures is not tested."""

import types

import numpy as np
import pytest

from benchmarks import serving
from patchvae_tf import datasets


@pytest.mark.slow
def test_a_small_measurement_has_every_figure():
    pytest.importorskip("tf2onnx", reason="the extra `onnx` is not installed")
    start, rates = serving.measure(image_size=32, batch_sizes=[1, 3], rounds=1, seconds=0.0)
    assert min(start.load, start.warm_up, start.first) > 0
    assert [row.batch_size for row in rates] == [1, 3]
    for row in rates:
        assert min(row.keras, row.floats, row.files, row.onnx, row.ratio, row.onnx_ratio) > 0
        for name in ("floats", "files"):
            assert row.p50[name] <= row.p99[name]
            rate = row.floats if name == "floats" else row.files
            # Of one round the median of all requests is that of the rounds' medians.
            assert rate * row.p50[name] / 1000 == pytest.approx(row.batch_size)


def test_a_request_larger_than_the_scenes_has_them_over_again(monkeypatch):
    scenes = np.arange(5 * 2 * 2 * 3, dtype=np.uint8).reshape(5, 2, 2, 3)
    monkeypatch.setattr(datasets, "load", lambda *_, **__: types.SimpleNamespace(images=scenes))
    np.testing.assert_array_equal(serving._images(2, 3), scenes[:3])
    np.testing.assert_array_equal(serving._images(2, 12), [*scenes, *scenes, *scenes[:2]])


def test_the_tables_show_what_was_measured():
    start = serving.Start(image_size=32, load=0.467, warm_up=1.02, first=0.0024)
    latencies = {"p50": {"floats": 81.7, "files": 105.8}, "p99": {"floats": 85.6, "files": 112.5}}
    rates = {"keras": 3181.0, "floats": 3152.0, "files": 2422.0, "onnx": 2960.0}
    row = serving.Rates(32, 256, **rates, ratio=0.981, onnx_ratio=0.942, **latencies)
    lines = serving.tables([start], [row]).splitlines()
    assert lines[2] == "| 32 | 0.47 | 1.0 | 2.4 |"
    assert lines[-1] == (
        "| 32 | 256 | 3181 | 3152 (98.1%) | 81.7, 85.6 | 2422 | 105.8, 112.5 | 2960 (94.2%) |"
    )
