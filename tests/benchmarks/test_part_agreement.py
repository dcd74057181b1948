import dataclasses
import json

import numpy as np

from benchmarks import part_agreement
from patchvae_tf.evaluation import part_truths


def test_a_training_is_measured_on_images_that_it_did_not_see():
    training, test = (
        part_truths.load("parts", split, image_size=32, stride=8, seed=0)
        for split in ("train", "test")
    )
    few = part_truths.PartTruths(test.images[:40], test.part_maps[:40], test.names, "test")
    # Two steps of 32 images are more than these: they are gone through twice.
    fewer = part_truths.PartTruths(
        training.images[:50], training.part_maps[:50], training.names, "train"
    )
    found = part_agreement.run({"recipe": "paper", "num_parts": 4}, fewer, few, 2, seed=0)
    assert found["steps_taken"] == 2
    assert 0.4 < found["mean_area"] < 0.7  # two steps find nothing
    assert -1 <= found["part_agreement"] <= 1
    assert 0 <= found["parts_alive"] <= 4


def test_ranks_are_compared_and_not_values():
    assert part_agreement.rank_correlation([1, 2, 3, 100], [0.1, 0.2, 0.9, 0.95]) == 1.0
    expected = np.corrcoef([0, 1, 2, 3], [1, 0, 2, 3])[0, 1]
    assert abs(part_agreement.rank_correlation([5, 6, 7, 8], [2, 1, 3, 4]) - expected) < 1e-12


def test_only_trainings_of_the_same_images_steps_and_seed_are_ranked(tmp_path, monkeypatch, capsys):
    found = iter([(0.1, 0.1), (0.2, 0.2), (0.1, 0.9), (0.2, 0.8)])
    trained = []

    def run(settings, training, test, steps, seed):
        trained.append(settings)
        return dict(zip(("part_agreement", "mean_area"), next(found), strict=True))

    monkeypatch.setattr(part_agreement, "run", run)
    monkeypatch.setattr(part_agreement, "VARIANTS", {"one": {}, "other": {}})
    monkeypatch.setattr(part_truths, "load", lambda *_, **__: None)
    output = tmp_path / "records.jsonl"
    config = part_agreement.PartAgreementConfig(output=str(output))
    part_agreement.main(None, config)
    assert "rank correlation of 2 trainings: 1.00" in capsys.readouterr().out
    larger = dataclasses.replace(config, image_size=64)
    part_agreement.main(None, larger)
    assert "rank correlation of 2 trainings: -1.00" in capsys.readouterr().out
    sizes = [json.loads(line)["image_size"] for line in output.read_text().splitlines()]
    assert sizes == [32, 32, 64, 64]
    part_agreement.main(None, config)
    assert "rank correlation of 2 trainings: 1.00" in capsys.readouterr().out
    assert len(trained) == 4
