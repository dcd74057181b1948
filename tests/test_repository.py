"""README and BUILD.md say what the code does, and its functions their types."""

import ast
import pathlib
import tomllib

import pytest

import patchvae_tf

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BUILD = (ROOT / "BUILD.md").read_text()

# What the package is made of. The method knows nothing of the machinery, and of the machinery each
# line imports only what stands above it.
METHOD = {
    "backbones",
    "brightness",
    "datasets",
    "environment",
    "errors",
    "extras",
    "layers",
    "losses",
    "models",
    "noise",
    "objectives",
    "optimizers",
    "parts",
    "pretrained",
    "registration",
    "resnet18_weights",
    "schedules",
    "settings",
    "visualization",
}
MACHINERY = (
    {"runs", "startup", "interruption"},
    {"cluster"},
    {"training"},
    {"evaluation"},
    {"saved_models"},
    {"features", "report", "transfer"},
    {"unsupervised"},
    {"table", "demo"},
    {"command_line"},
)


def test_the_public_names_are_there():
    for name in patchvae_tf.__all__:
        assert getattr(patchvae_tf, name) is not None
    assert set(patchvae_tf.__all__) == {*patchvae_tf._PUBLIC, "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'PatchVAF'"):
        _ = patchvae_tf.PatchVAF


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == patchvae_tf.__version__


def test_the_wheel_has_every_package():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = [path.parent for path in (ROOT / "patchvae_tf").rglob("__init__.py")]
    inside = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(listed) == inside | {"patchvae_tf.trainers", "patchvae_tf.export"}


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


def _modules():
    """Every module of the package and its commands: (where it belongs, its path)."""
    for folder in ("patchvae_tf", "trainers", "export"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT).with_suffix("").parts
            yield inside[1] if folder == "patchvae_tf" else folder, path


def _imports(path):
    """What a module imports, anywhere in it: the package's folders by their names, others whole."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, *rest = name.split(".")
            if package == "patchvae_tf" and rest and rest[0] != "__version__":
                # A public name is of the folder that it is loaded from.
                public = patchvae_tf._PUBLIC.get(rest[0])
                yield package, public[0].partition(".")[0] if public else rest[0]
            else:
                yield package, ""


def test_every_folder_of_the_package_has_its_place():
    machinery = {name for line in MACHINERY for name in line}
    places = {place for place, _ in _modules()} - {"trainers", "export", "__init__", "__main__"}
    assert places == METHOD | machinery


def test_the_commands_import_the_package_alone():
    for place, path in _modules():
        packages = {package for package, _ in _imports(path)}
        if place in ("trainers", "export"):
            assert not packages & {"trainers", "export"}, path
            assert "absl" not in packages, path


def test_only_the_command_line_knows_flags_and_nothing_knows_the_commands():
    for place, path in _modules():
        if place in ("trainers", "export", "__main__"):
            continue
        for package, folder in _imports(path):
            assert package not in ("trainers", "export"), path
            if place != "command_line":
                assert package != "absl", path
                assert folder != "command_line", path


def test_the_method_imports_no_machinery():
    for place, path in _modules():
        if place in METHOD:
            assert {folder for _, folder in _imports(path) if folder} <= METHOD, path


@pytest.mark.parametrize(
    "line", range(len(MACHINERY)), ids=lambda n: "-".join(sorted(MACHINERY[n]))
)
def test_the_machinery_imports_what_stands_above_it(line):
    above = METHOD.union(*MACHINERY[:line])
    for place, path in _modules():
        if place in MACHINERY[line]:
            assert {folder for _, folder in _imports(path) if folder} <= above | {place}, path


def test_public_functions_say_their_types():
    for path in (ROOT / "patchvae_tf").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                given += filter(None, [node.args.vararg, node.args.kwarg])
                said = [argument.annotation for argument in given] + [node.returns]
                assert None not in said, f"{path}: {node.name}"
