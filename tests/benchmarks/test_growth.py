"""The measuring is right; what it measures is not tested."""

import numpy as np
import pytest

from benchmarks import growth, growth_works


def test_memory_is_the_most_that_work_takes():
    found = growth.measured(lambda: np.ones(5_000_000).sum(), rounds=1)  # 40 MB
    assert 35 < found["peak_megabytes"] < 80
    assert found["seconds"] > 0


def test_exponents_are_slopes_of_logarithms():
    assert growth.exponent([1, 10, 100], [3, 300, 30_000]) == pytest.approx(2.0)
    assert growth.exponent([32, 64], [5, 5]) == pytest.approx(0.0)
    assert growth.exponent([32, 64], [0, 5]) is None


def _rows(name, sizes, seconds, megabytes):
    axis = growth_works.WORKS[name].axis
    return [
        {"work": name, "axis": axis, "size": size, "seconds": s, "peak_megabytes": m}
        for size, s, m in zip(sizes, seconds, megabytes, strict=True)
    ]


def test_the_exponent_of_an_image_s_side_is_over_its_pixels():
    rows = _rows("drawing scenes", (32, 64, 128), (1.0, 4.0, 16.0), (1.0, 2.0, 8.0))
    found = growth.exponents(rows)
    assert found["seconds"] == pytest.approx(1.0)
    assert found["last_peak_megabytes"] == pytest.approx(1.0)


def test_table_and_picture_show_every_work():
    rows = [
        *_rows("embed", (1000, 10_000), (0.5, 10.0), (100.0, 0.0)),
        *_rows("drawing scenes", (32, 64), (1.0, 4.0), (1.0, 4.0)),
    ]
    assert growth.table(rows).splitlines()[2:] == [
        "| embed | 1,000 → 10,000 images | 500 µs → 1 ms | 1.30 (1.30) | 100 → 0 MB | - (-) |",
        "| drawing scenes | 32 → 64 image size | 1 s → 4 s | 1.00 (1.00) | 1 → 4 MB "
        "| 1.00 (1.00) |",
    ]
    legends = [
        text.get_text() for axes in growth.figure(rows).axes for text in axes.get_legend().texts
    ]
    assert legends == [
        "embed (1.30)",
        "drawing scenes (1.00)",
        "embed (-)",
        "drawing scenes (1.00)",
    ]


def test_a_row_a_size():
    rows = growth.rows_of("drawing few labels", most=1000, rounds=1)
    assert [(row["work"], row["size"]) for row in rows] == [("drawing few labels", 1000)]
