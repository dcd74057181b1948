"""The table divides as it says; what it measures is not tested."""

from benchmarks import compare


def test_the_table_shows_medians_and_ratios():
    found = {
        "tensorflow_float32": {"training": [600.0, 500.0, 700.0], "features": [4000.0] * 3},
        "torch_float32": {"training": [300.0] * 3, "features": [1000.0] * 3},
        "torch_bfloat16_channels_last": {"training": [400.0] * 3, "features": [2000.0] * 3},
    }
    for rates in found.values():
        rates["memory"] = 512.4
    rows = compare.table(found, image_size=32, batch_size=128).splitlines()
    assert rows[-3] == (
        "| tensorflow_float32 | 600 (500-700) | 4000 (4000-4000) "
        "| 2.00 | 1.50 | 4.00 | 2.00 | 512 |"
    )
    assert rows[-2].startswith("| torch_float32 | 300 (300-300) | 1000 (1000-1000) | 1.00 | 0.75 ")


def test_every_contender_is_known():
    assert compare._EAGER in compare.CONTENDERS
    libraries = {contender.library for contender in compare.CONTENDERS.values()}
    assert libraries == {"tensorflow", "torch"}
