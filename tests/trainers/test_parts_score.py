import json

import pytest

from patchvae_tf import BetaVAE, PatchVAE
from patchvae_tf.evaluation import parts_score
from tests import processes


def _run(*flags):
    return processes.run("trainers.parts_score", *flags)


def test_an_untrained_model_scores_as_one(tmp_path):
    PatchVAE(image_size=32).save(tmp_path / "model.keras")
    done = _run(f"--run_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "parts_score.json").read_text())
    assert (result["split"], result["images"]) == ("test", 4000)
    assert len(result["parts"]) == 12
    areas = [match["area"] for match in result["parts"].values()]
    assert result["mean_area"] == pytest.approx(sum(areas) / 12)
    # All three are near chance; matching picks the lucky ones, so a little above.
    assert result["mean_area"] == pytest.approx(result["untrained_mean_area"], abs=0.05)
    assert 0.5 < result["shuffled_mean_area"] < 0.54
    assert result["weakest_area"] == min(areas)
    assert 0.5 <= result["place_alone_mean_area"] < 0.54
    # Features of first weights know something, and labels get more out of them.
    assert 0.5 < result["kmeans_mean_area"] < result["linear_mean_area"]
    assert 0.5 < result["nmf_mean_area"] < result["linear_mean_area"]
    assert result["linear_mean_area"] > 0.7
    assert 0 <= result["mean_iou"] < 0.2
    assert result["foreground_nmi"] < 0.1
    assert abs(result["foreground_ari"]) < 0.1
    assert f"| **mean** | | **{result['mean_area']:.3f}** |" in done.stdout
    assert f"| mean, k-means of φ's places | | {result['kmeans_mean_area']:.3f} |" in done.stdout
    assert f"| ARI, all places | {result['ari']:.3f} |" in done.stdout
    assert "| window grid |" in done.stdout


def test_true_maps_score_one_and_dealt_ones_do_not(monkeypatch):
    from patchvae_tf import datasets
    from patchvae_tf.evaluation import features

    scenes = datasets.load("parts", "test", image_size=32)
    model = PatchVAE(image_size=32)

    def oracle(asked, images):
        return scenes.part_maps.astype("float32") if asked is model else untrained(asked, images)

    untrained = features.occurrence_maps
    monkeypatch.setattr(features, "occurrence_maps", oracle)
    result = parts_score.score(model, "test", seed=0)
    assert result["mean_area"] == result["weakest_area"] == result["mean_iou"] == 1.0
    for name in ("foreground_nmi", "foreground_ari", "nmi", "ari"):
        assert result[name] == pytest.approx(1.0), name
    assert [match["learned"] for match in result["parts"].values()] == list(range(12))
    assert result["shuffled_mean_area"] < 0.6
    assert result["untrained_mean_area"] < 0.65


def test_what_has_no_parts_is_refused(tmp_path):
    assert "run_dir is missing" in _run().stderr
    BetaVAE(image_size=32).save(tmp_path / "model.keras")
    (tmp_path / "config.json").write_text(json.dumps({"model": "beta_vae"}))
    (tmp_path / "data.json").write_text("{}")
    done = _run(f"--run_dir={tmp_path}")
    assert done.returncode == 1
    assert "is a run of beta_vae, which has no parts. Give a run of patchvae." in done.stderr
    done = _run(f"--run_dir={tmp_path}/absent")
    assert done.returncode == 1
    assert "does not exist" in done.stderr
