"""README and BUILD.md say what the code does."""

import dataclasses
import pathlib
import re
import tomllib

import pytest

import patchvae_tf
from patchvae_tf.settings import recipes
from patchvae_tf.training.execution import Execution

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BUILD = (ROOT / "BUILD.md").read_text()


def test_the_table_of_flags_is_complete_and_its_defaults_are_true():
    rows = dict(re.findall(r"^\| `--(\w+)` \| (.*?) \|", README, re.MULTILINE))
    fields = {field.name: field for field in dataclasses.fields(UnsupervisedConfig)}
    execution = {field.name: field for field in dataclasses.fields(Execution)}
    assert list(rows) == [*fields, "preset", "run_dir", "export", "report", *execution]

    def shown(value):
        if isinstance(value, str):
            return f"`{value}`"
        return str(value).lower() if isinstance(value, bool) else f"{value:g}"

    said = {name: recipes.values(name, "") for name in recipes.DESCRIPTIONS}
    for name, field in {**fields, **execution}.items():
        if name in said["paper"]:
            values = {f"`{recipe}`": shown(said[recipe][name]) for recipe in said}
            assert rows[name] == "; ".join(f"{recipe} {value}" for recipe, value in values.items())
        elif field.default is not None:
            assert rows[name] == shown(field.default)


def test_links_and_pictures_are_there():
    for text in (README, BUILD):
        for target in re.findall(r"\[[^\]]*[^\"\]]\]\(([^)#]+)\)", text):
            assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_public_names_are_there():
    for name in patchvae_tf.__all__:
        assert getattr(patchvae_tf, name) is not None
    assert set(patchvae_tf.__all__) == {*patchvae_tf._PUBLIC, "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'PatchVAF'"):
        _ = patchvae_tf.PatchVAF


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == patchvae_tf.__version__


def test_nothing_is_left_to_fill_in():
    for text in (README, BUILD):
        assert "@@" not in text


def test_ci_runs_the_test_command_of_the_readme():
    assert "\nmake test\n" in README
    assert "make test\n" in (ROOT / ".ci/run").read_text()


def test_the_layout_in_build_names_what_is_there():
    for name in ("backbones", "layers", "models", "datasets", "visualization"):
        assert f"  {name}/" in BUILD
        assert (ROOT / "patchvae_tf" / name).is_dir()


def test_the_library_imports_neither_flags_nor_trainers_nor_export():
    for path in (ROOT / "patchvae_tf").rglob("*.py"):
        for line in path.read_text().splitlines():
            imported = re.match(r"\s*(?:from|import) ([\w.]+)", line)
            if imported:
                assert imported[1].split(".")[0] not in ("absl", "trainers", "export"), path
