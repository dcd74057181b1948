"""The model card says what the version holds and what was measured."""

import json

from patchvae_tf.saved_models import model_card
from tests.export.exporting import RECORD, SIZE


def test_a_model_without_a_run_says_so(exported):
    model, version = exported
    facts = json.loads((version / "model.json").read_text())
    assert (facts["model"], facts["image_size"], facts["stride"]) == ("PatchVAE", SIZE, 8)
    assert facts["arguments"]["num_parts"] == 4
    assert facts["parameters"]["backbone"] == 683_072
    assert facts["parameters"]["model"] == model.count_params() - sum(
        weight.shape.num_elements() for weight in model.non_trainable_weights
    )
    assert facts["run"] is None
    contract = facts["signatures"]["serving_bytes"]
    assert contract["inputs"] == {"image_bytes": {"shape": [None], "dtype": "string"}}
    assert contract["outputs"]["valid"] == {"shape": [None], "dtype": "bool"}
    assert contract["outputs"]["occurrence"]["shape"] == [None, 2, 2, 4]
    card = (version / "MODEL_CARD.md").read_text()
    assert "# PatchVAE, 16 × 16 pixels" in card
    assert "Not recorded" in card
    assert "Nothing is recorded." in card
    assert "| `decode` | `latent` [n, h, w, 8] | `images` [n, h, w, 3] |" in card


def test_the_record_of_a_run_is_in_the_card(exported_beta_vae):
    _, version = exported_beta_vae
    assert json.loads((version / "model.json").read_text())["run"] == RECORD
    card = (version / "MODEL_CARD.md").read_text()
    for line in (
        "# β-VAE, 16 × 16 pixels",
        "Data: `photos`, 12,345 images, 67 more held out, 1 unreadable left out.",
        "Trained on A processor, 2 cores, mixed_bfloat16; exported in float32.",
        "| epochs | 3 |",
        "top-1 (10 classes, 9,500 labelled training images, 67 held out) | 85.0% |",
        "| the same on an untrained φ | 54.7% |",
        "| loss, held out | 390.7 |",
        "| `decode` | `latent` [n, 5] | `images` [n, 16, 16, 3] |",
    ):
        assert line in card
    assert "occurrence" not in card.split("## Data")[0]
    assert "Nothing is recorded" not in card


def test_what_the_parts_are_worth_is_in_the_card():
    parts = {"part_agreement": 0.714, "parts_alive": 12, "part_concentration": 0.5}
    result = {**RECORD["result"], "parts": {**parts, "true_parts": {"mean_area": 0.9512}}}
    record = {"settings": {"num_parts": 16}, "result": result}
    lines = model_card.measured(record)
    assert "| parts that occur, held out | 12 of 16 |" in lines
    assert lines[-3].endswith("above chance and place | 0.71 |")
    assert lines[-2:] == [
        "| share of a part's occurrence in its largest place | 0.50 |",
        "| true parts found, mean area under ROC | 0.951 |",
    ]


def test_what_was_not_measured_is_named(exported_beta_vae, tmp_path):
    facts = json.loads((exported_beta_vae[1] / "model.json").read_text())
    assert facts["run"]["result"].pop("linear_probe")
    model_card.write(tmp_path, facts)
    assert "| accuracy of a classifier | not measured" in (tmp_path / "MODEL_CARD.md").read_text()
