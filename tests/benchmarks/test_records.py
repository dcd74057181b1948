"""What tells a record from others; what is measured is not tested."""

import dataclasses
import json

from benchmarks import peers, recipes
from patchvae_tf.settings import unsupervised_config


def _record(name, settings, folder, stop_request):
    del folder, stop_request
    said = unsupervised_config(**settings).to_json()
    del said["data_dir"]
    return {
        "variant": name,
        "seed": settings["seed"],
        "settings": said,
        "linear": 0.5,
        "fc": 0.5,
    }


def test_a_record_of_recipes_is_of_all_its_settings_but_for_where_the_images_lie(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(recipes, "run", _record)
    output = tmp_path / "records.jsonl"

    def epochs_of_records():
        return [json.loads(line)["settings"]["epochs"] for line in output.read_text().splitlines()]

    config = recipes.RecipesConfig(
        dataset="cifar100", epochs=2, variants="paper,masked", output=str(output)
    )
    recipes.main(None, config)
    assert epochs_of_records() == [2, 2]
    recipes.main(None, dataclasses.replace(config, data_dir="elsewhere"))
    assert epochs_of_records() == [2, 2]
    recipes.main(None, dataclasses.replace(config, epochs=3, variants="paper"))
    assert epochs_of_records() == [2, 2, 3]
    recipes.main(None, dataclasses.replace(config, seeds=2))
    assert epochs_of_records() == [2, 2, 3, 2, 2]


def test_records_of_peers_differ_by_what_is_held_out_of_train():
    config = peers.PeersConfig(dataset="cifar100")
    other = dataclasses.replace(config, validation_examples=32)
    assert peers.identity("simclr", config, 0) != peers.identity("simclr", other, 0)
    config, other = (dataclasses.replace(one, split="test") for one in (config, other))
    assert peers.identity("simclr", config, 0) == peers.identity("simclr", other, 0)
