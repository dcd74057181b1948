import json

import numpy as np

from benchmarks import few_labels


def _data(folder):
    """Two kinds of stripes, lying and standing, with noise."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    stripes = np.tile(np.repeat([40, 210], 4), 4).astype("float32")  # [32]
    lying = np.broadcast_to(stripes[:, None, None], (32, 32, 3))
    images = np.where(labels[:, None, None, None] == 1, lying, lying.transpose(1, 0, 2))
    images = (images + rng.normal(size=images.shape) * 20).clip(0, 255).astype("uint8")
    np.savez(
        folder / "data.npz",
        x_train=images[:200],
        y_train=labels[:200],
        x_test=images[200:],
        y_test=labels[200:],
    )
    return str(folder / "data.npz")


def test_few_labels_tell_stripes_apart_and_a_record_is_left(tmp_path, capsys):
    config = few_labels.FewLabelsConfig(
        model="cifar100",
        dataset=_data(tmp_path),
        labels_per_class="2,5",
        crops="1",
        output=str(tmp_path / "rows.json"),
    )
    few_labels.main(None, config)
    record = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["labels_per_class"], row["crops"]) for row in record["rows"]] == [(2, 1), (5, 1)]
    for row in record["rows"]:
        assert len(row["top1"]) == 2
        assert min(row["top1"]) > 0.9
    assert record["scored_on"] == "test"
    assert record["test_images"] == 100
    assert "| 5 | 1 | 100.0% | 100.0%, 100.0% |" in capsys.readouterr().out


def test_the_table_has_the_means():
    row = {"labels_per_class": 10, "crops": 5, "top1": [0.2, 0.25]}
    assert few_labels.table([row]).splitlines()[-1] == "| 10 | 5 | 22.5% | 20.0%, 25.0% |"
