import numpy as np
import pytest

from benchmarks import frozen_features


def _examples(count, seed, signal=1.0):
    """Three classes, told by one dimension of five whose scales differ by a thousand."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    features = rng.normal(size=(count, 5)) * [1.0, 10.0, 100.0, 1000.0, 0.1]
    features[:, 4] += signal * labels
    return features.astype("float32"), labels


def test_what_can_be_told_apart_is_told_apart_whatever_its_scale():
    result = frozen_features.measure(_examples(2048, 0), _examples(500, 1), seed=0)
    assert result["linear"] > 0.6  # 160 steps at so low a rate
    assert result["fc"] > 0.95


def test_chance_is_not_exceeded():
    training, test = _examples(2048, 0, signal=0.0), _examples(500, 1, signal=0.0)
    result = frozen_features.measure(training, test, seed=0)
    assert result["linear"] == pytest.approx(1 / 3, abs=0.08)
    assert result["fc"] == pytest.approx(1 / 3, abs=0.08)
