"""What benchmarks can be told, and what they say to what they cannot do."""

import dataclasses
import importlib
import pathlib
import re
import subprocess
import sys

import pytest

from benchmarks import (
    compare,
    few_labels,
    frozen_features,
    growth,
    lists,
    peers,
    presets,
    recipes,
    scaling,
    serving,
    startup,
    throughput,
)
from patchvae_tf import extras
from patchvae_tf.errors import InputError
from tests import processes

COMMANDS = sorted(
    path.stem
    for path in pathlib.Path(lists.__file__).parent.glob("*.py")
    if "console.run(" in path.read_text()
)


def test_words_stand_between_commas():
    known = {"a", "b", "c, d"}
    assert lists.words("letters", 'b , "c, d",a', known) == ("b", "c, d", "a")
    for every in (None, ""):
        assert set(lists.words("letters", every, known)) == known
    with pytest.raises(
        InputError, match=re.escape("letters must be of b, \"c, d\". Received: 'e'")
    ):
        lists.words("letters", "b,e", ("b", "c, d"))


def test_numbers_stand_between_commas():
    assert lists.multiples("sizes", "32, 64", of=8) == (32, 64)
    assert lists.multiples("crops", "1,5") == (1, 5)
    for text, of, message in (
        ("32,12", 8, "sizes must be positive multiples of 8, with commas between. Received: '12'"),
        ("0", 8, "sizes must be positive multiples of 8, with commas between. Received: '0'"),
        ("", 1, "sizes must be whole numbers above 0, with commas between. Received: ''"),
        ("1,-5", 1, "sizes must be whole numbers above 0, with commas between. Received: '-5'"),
        ("1;5", 1, "sizes must be whole numbers above 0, with commas between. Received: '1;5'"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            lists.multiples("sizes", text, of)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (compare.CompareConfig, {"image_sizes": "30"}, "image_sizes must be positive multiples"),
        (compare.CompareConfig, {"contenders": "jax"}, "contenders must be of tensorflow_float32,"),
        (few_labels.FewLabelsConfig, {"dataset": "parts"}, "model is missing."),
        (
            few_labels.FewLabelsConfig,
            {"model": "parts", "dataset": "parts", "labels_per_class": "ten"},
            "labels_per_class must be whole numbers above 0, with commas between. Received: 'ten'",
        ),
        (frozen_features.FrozenFeaturesConfig, {"model": "parts"}, "dataset is missing."),
        (growth.GrowthConfig, {"only": "sleep"}, "only must be of opening an .npz,"),
        (growth.GrowthConfig, {"only": "embed", "most": 10}, "most must be at least 1000, the"),
        (peers.PeersConfig, {"dataset": "parts", "peers": "moco"}, "peers must be of simclr,"),
        (presets.PresetsConfig, {"dataset": "parts"}, "preset is missing."),
        (
            presets.PresetsConfig,
            {"preset": "parts", "dataset": "parts", "poolings": "median"},
            "poolings must be of mean, max, flat, parts. Received: 'median'",
        ),
        (
            recipes.RecipesConfig,
            {"dataset": "parts", "variants": "papre"},
            "variants must be of paper,",
        ),
        (scaling.ScalingConfig, {"batch_size": 7}, "batch_size must be even. Received: 7"),
        (serving.ServingConfig, {"batch_sizes": "1,x"}, "batch_sizes must be whole numbers"),
        (startup.StartupConfig, {"rounds": 0}, "rounds must be at least 1. Received: 0"),
        (throughput.ThroughputConfig, {"precisions": "int8"}, "precisions must be of float32,"),
    ],
)
def test_wrong_settings_are_refused(kind, given, message):
    with pytest.raises(InputError, match=re.escape(message)):
        kind(**given)


def test_what_is_measured_where_nothing_is_said():
    assert compare.CompareConfig().sizes() == (32, 64, 224)
    assert compare.CompareConfig().names() == tuple(compare.CONTENDERS)
    assert growth.GrowthConfig().names() == tuple(growth.WORKS)
    assert serving.ServingConfig().requests() == (1, 32, 256)
    assert throughput.ThroughputConfig().dtypes() == ("float32", "bfloat16")
    settings = presets.PresetsConfig(preset="parts", dataset="parts").settings()
    assert settings[:3] == [
        {"pooling": "mean", "crops": 1},
        {"pooling": "mean", "crops": 5},
        {"pooling": "max", "crops": 1},
    ]
    assert len(settings) == 6


def test_a_missing_pytorch_is_named(monkeypatch):
    monkeypatch.setitem(extras.MODULES, "compare", ("no_such_module",))
    with pytest.raises(InputError, match=r"needs the extra `compare`: no_such_module is not inst"):
        compare.main(None, compare.CompareConfig())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_every_setting_without_tensorflow(name):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", f"benchmarks.{name}", "--helpfull"],
        cwd=processes.ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "tensorflow" not in done.stderr
    members = vars(importlib.import_module(f"benchmarks.{name}"))
    (kind,) = (value for title, value in members.items() if title.endswith("Config"))
    for field in dataclasses.fields(kind):
        assert re.search(rf"^  --(\[no\])?{field.name}\b", done.stdout, re.MULTILINE), field.name
    assert max(map(len, done.stdout.splitlines())) <= 100
