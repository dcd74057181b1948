"""The examples run as a user runs them: elsewhere, and where our packages are not installed."""

import os
import re
import runpy
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from examples import near_duplicates
from patchvae_tf.features import extraction as features
from tests import processes
from tests.examples.conftest import write_features
from tests.export.exporting import ROOT, SIZE, patch_vae
from tests.serving_double.serving import ServingDouble

FORMATS = pytest.mark.parametrize("suffix", [".parquet", ".npz"])


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory):
    """A working folder, and an environment in which our packages cannot be imported."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in processes.OURS:
        (folder / "absent" / name).mkdir(parents=True)
        (folder / "absent" / name / "__init__.py").write_text("raise ImportError('not here')")
    return folder, {**os.environ, "PYTHONPATH": str(folder / "absent")}


@pytest.fixture
def run(tmp_path):
    """Function (script, *arguments) -> what it printed; it must succeed."""

    def function(script, *arguments):
        done = processes.run(ROOT / "examples" / script, *arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return function


@pytest.fixture
def run_anew(elsewhere):
    """The same in a new interpreter: once for each script that imports TensorFlow."""

    def function(script, *arguments):
        folder, environment = elsewhere
        command = [sys.executable, ROOT / "examples" / script, *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return function


@pytest.fixture
def error(monkeypatch):
    """Function (script, *arguments) -> the line with which it must exit.

    In this process: where many errors are tried, starting TensorFlow for each takes too long.
    """

    def function(script, *arguments):
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            runpy.run_path(str(ROOT / "examples" / script), run_name="__main__")
        (line,) = str(exit.value).splitlines()
        assert line.startswith("error: ")
        return line

    return function


@pytest.fixture(scope="module")
def servers(patch_vae_version, beta_vae_version):
    """Doubles that serve a PatchVAE and a BetaVAE."""
    with (
        ServingDouble(patch_vae_version.parent) as patch,
        ServingDouble(beta_vae_version.parent, "beta") as beta,
    ):
        yield patch, beta


def test_the_page_shows_every_script():
    page = (ROOT / "examples" / "README.md").read_text()
    for path in (ROOT / "examples").glob("*.py"):
        assert f"| [{path.name}]({path.name}) |" in page
        assert page.count(path.name) > 2  # its output too


CLIENTS = pytest.mark.parametrize(
    ("script", "interface"), [("rest_client.py", "rest"), ("grpc_client.py", "grpc")]
)


@CLIENTS
def test_clients_print_features_and_parts(run_anew, servers, images, outputs, script, interface):
    broken = images[0].parent / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no image")
    address = getattr(servers[0], interface)
    lines = run_anew(script, *images[:20], broken, f"--address={address}").splitlines()
    assert lines.pop() == f"{broken}: not an image that can be read"
    assert len(lines) == 20
    for path, line, pooled, occurrence in zip(
        images, lines, outputs["features"], outputs["occurrence"], strict=False
    ):
        name, first, parts = re.fullmatch(
            r"(.*): 128 features ((?:[\d.-]+ ){4})\.\.\.; parts (.*)", line
        ).groups()
        assert name == str(path)
        np.testing.assert_allclose([float(x) for x in first.split()], pooled[:4], atol=6e-4)
        highest = occurrence.max(axis=(0, 1))
        pairs = [part.split(": ") for part in parts.split(", ")]
        assert [int(part) for part, _ in pairs] == np.argsort(-highest)[:3].tolist()
        shares = [float(share.rstrip("%")) / 100 for _, share in pairs]
        np.testing.assert_allclose(shares, np.sort(highest)[::-1][:3], atol=6e-3)


@CLIENTS
def test_clients_of_a_model_without_parts(run, servers, images, script, interface):
    address = getattr(servers[1], interface)
    line = run(script, images[0], f"--address={address}", "--model=beta")
    assert re.fullmatch(r".*00\.png: 128 features ([\d.-]+ ){4}\.\.\.\n", line)


@CLIENTS
def test_clients_tell_what_is_wrong(error, servers, images, script, interface):
    address = f"--address={getattr(servers[0], interface)}"
    line = error(script, images[0], address, "--model=unknown")
    assert line.startswith("error: the server refuses (")
    assert "Servable not found for request: Latest(unknown)" in line
    assert error(script, "absent.png", address).endswith(
        "absent.png cannot be read: No such file or directory."
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    line = error(script, images[0], f"--address={nobody}")
    assert line.startswith(f"error: no answer from {nobody}")
    assert line.endswith("Give the right --address=HOST:PORT.")


def test_onnx_needs_no_tensorflow(elsewhere, images, outputs, tmp_path, error):
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    pytest.importorskip("tf2onnx", reason="the extra `onnx` is not installed")
    from patchvae_tf.saved_models import onnx_writing

    keras.utils.set_random_seed(0)  # the model whose SavedModel gave `outputs`
    pixels = np.stack([np.asarray(Image.open(path)) for path in images[:3]])
    version, _ = onnx_writing.export_onnx(patch_vae(), tmp_path, pixels)
    folder, environment = elsewhere
    for name in ("tensorflow", "keras"):
        (tmp_path / "absent" / name).mkdir(parents=True)
        (tmp_path / "absent" / name / "__init__.py").write_text("raise ImportError('not here')")
    absent = os.pathsep.join([str(tmp_path / "absent"), environment["PYTHONPATH"]])
    done = subprocess.run(
        [
            *(sys.executable, "-X", "importtime", ROOT / "examples/onnx_features.py"),
            *(version / "model.onnx", *images[:3]),
        ],
        cwd=folder, env={**environment, "PYTHONPATH": absent}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "onnxruntime" in imported
    assert not imported & {"tensorflow", "keras", "patchvae_tf"}
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    for path, line, pooled in zip(images, lines, outputs["features"], strict=False):
        name, first = line.split(": 128 features ")
        assert name == str(path)
        np.testing.assert_allclose([float(x) for x in first.split()], pooled[:4], atol=6e-4)
    message = error("onnx_features.py", version / "model.onnx", version / "model.json")
    assert message.startswith(f"error: {version / 'model.json'} cannot be read: ")


def _features(count, seed):
    """Features of three classes, far apart."""
    labels = np.arange(count) % 3
    features = np.random.default_rng(seed).normal(size=(count, 128)).astype("float32")
    features[:, :120] += 5 * np.eye(3, dtype="float32")[labels].repeat(40, axis=1)
    keys = np.array([f"{index}.png" for index in range(count)])
    return {"key": keys, "label": labels, "features": features}


NAMES = ["cat", "dog", "owl"]


@FORMATS
def test_the_classifier_of_features(run, tmp_path, suffix):
    train, test = tmp_path / f"train{suffix}", tmp_path / f"test{suffix}"
    write_features(train, _features(90, seed=0), NAMES)
    columns = _features(32, seed=1)
    columns["label"][[0, 3]] = 1  # cats that the file calls dogs
    columns["label"][30:] = -1  # not known
    write_features(test, columns, NAMES)
    assert run("sklearn_classifier.py", train, test).splitlines() == [
        "90 images to learn from, 30 to test",
        "top-1 accuracy 93.3% (always the most frequent class: 40.0%)",
        "  cat  100.0% of 8",
        "  dog   83.3% of 12",
        "  owl  100.0% of 10",
        "most often mistaken: dog for cat, 2 times",
    ]


@FORMATS
def test_the_classifier_holds_out_a_fifth(run, tmp_path, suffix):
    path = tmp_path / f"all{suffix}"
    write_features(path, _features(60, seed=0))
    assert run("sklearn_classifier.py", path).splitlines() == [
        "48 images to learn from, 12 to test",
        "top-1 accuracy 100.0% (always the most frequent class: 33.3%)",
        *(f"  class {number}  100.0% of 4" for number in range(3)),
    ]


@FORMATS
def test_the_classifier_tells_what_is_wrong(error, tmp_path, suffix):
    def written(name, names=NAMES, **changes):
        path = tmp_path / (name + suffix)
        columns = {**_features(30, seed=0), **changes}
        columns = {key: value for key, value in columns.items() if value is not None}
        write_features(path, columns, names)
        return path

    train = written("train")
    one_of_a_class = np.array([0] * 29 + [1])
    (tmp_path / f"text{suffix}").write_text("text")
    (tmp_path / f"half{suffix}").write_bytes(train.read_bytes()[:1000])
    for arguments, message in (
        ([tmp_path / f"absent{suffix}"], "No such file or directory"),
        ([tmp_path / f"text{suffix}"], "cannot be read: "),
        ([tmp_path / f"half{suffix}"], "cannot be read: "),
        ([written("unlabelled", label=None)], "holds no labels of two classes or more"),
        ([written("one", label=np.zeros(30, int))], "holds no labels of two classes or more"),
        ([written("none", label=np.full(30, -1))], "holds no labels of two classes or more"),
        ([written("other", features=None)], "holds no `features`."),
        ([written("few", label=one_of_a_class)], "Give a TEST file too."),
        ([train, written("renamed", ["a", "b", "c"])], "are not those of"),
        ([train, written("short", features=np.ones((30, 5), "float32"))], "with one model"),
    ):
        assert message in error("sklearn_classifier.py", *arguments)


def _write_colours(folder, count=20):
    """Reddish and bluish images in a folder for each."""
    generator = np.random.default_rng(0)
    for index, name in enumerate(("red", "blue")):
        (folder / name).mkdir(parents=True)
        pixels = generator.integers(0, 60, (count, SIZE, SIZE + 5, 3), dtype=np.uint8)
        pixels[..., 2 * index] += 150
        for number, image in enumerate(pixels):
            Image.fromarray(image).save(folder / name / f"{number}.png")


@pytest.mark.parametrize("split", [True, False])
def test_the_classifier_of_images(run, run_anew, patch_vae_version, tmp_path, split):
    run = run_anew if split else run
    for part in ("train", "test") if split else (".",):
        _write_colours(tmp_path / part)
    arguments = ["--fine_tune", "--epochs=4"] if split else ["--epochs=4"]
    lines = run("keras_classifier.py", patch_vae_version, tmp_path, *arguments).splitlines()
    frozen = next(line for line in lines if line.startswith("frozen"))
    assert re.fullmatch(r"frozen φ \(0 of \d+ weights moved\): top-1 accuracy 100.0%", frozen)
    if split:
        moved = re.fullmatch(
            r"fine-tuned φ \((\d+) of \d+ weights moved\): top-1 accuracy 100.0%", lines[-1]
        )
        assert int(moved[1]) == 20  # kernels and biases of φ's ten convolutions


def test_the_classifier_of_images_tells_what_is_wrong(error, patch_vae_version, tmp_path):
    script = "keras_classifier.py"
    assert "holds no exported version" in error(script, tmp_path, tmp_path)
    assert "holds no images in folders" in error(script, patch_vae_version, tmp_path / "absent")
    assert "holds no images in folders" in error(script, patch_vae_version, tmp_path)
    for part, name in (("train", "red"), ("train", "blue"), ("test", "red"), ("test", "green")):
        (tmp_path / part / name).mkdir(parents=True)
        Image.new("RGB", (SIZE, SIZE)).save(tmp_path / part / name / "0.png")
    assert "are not those under" in error(script, patch_vae_version, tmp_path)


@FORMATS
def test_part_search_finds_the_part_of_the_patch(
    run, patch_vae_version, images, outputs, tmp_path, suffix
):
    keys = [path.name for path in images]
    occurrence, appearance = outputs["occurrence"], outputs["appearance"]
    columns = {"key": np.array(keys), "occurrence": occurrence, "appearance": appearance}
    write_features(tmp_path / f"parts{suffix}", columns)
    arguments = (patch_vae_version, tmp_path / f"parts{suffix}", images[2], 1, 0)
    head, *lines = run("part_search.py", *arguments).splitlines()
    part = occurrence[2, 1, 0].argmax()
    assert head.startswith(f"part {part} occurs at row 1, column 0 of {images[2]} with probability")
    assert f"{occurrence[2, 1, 0, part]:.2f}" in head
    # The image itself, then its brighter copy, and after them what is farther.
    assert lines[0].startswith("02.png: distance 0.00, probability ")
    assert lines[1].startswith("30.png: distance 0.")
    distances = [float(re.search(r"distance ([\d.]+)", line)[1]) for line in lines]
    assert distances == sorted(distances)
    assert distances[2] > 2 * distances[1]
    scale = appearance[:, part].std(axis=0)
    for line, distance in zip(lines, distances, strict=True):
        index = keys.index(line.split(":")[0])
        difference = (appearance[index, part] - appearance[2, part]) / scale
        assert distance == pytest.approx(np.sqrt(np.mean(difference**2)), abs=0.006)
        row, column = np.unravel_index(occurrence[index, ..., part].argmax(), (2, 2))
        highest = occurrence[index, ..., part].max()
        assert line.endswith(f"probability {highest:.2f} at row {row}, column {column}")


def test_part_search_looks_where_the_part_occurs(
    run_anew, patch_vae_version, images, outputs, tmp_path
):
    occurrence = np.full((31, 2, 2, 4), 0.1, np.float32)
    occurrence[5:8, 0, 1, 3] = 0.9
    columns = {
        "key": np.array([path.name for path in images]),
        "occurrence": occurrence,
        "appearance": outputs["appearance"],
    }
    write_features(tmp_path / "parts.npz", columns)
    search = (patch_vae_version, tmp_path / "parts.npz", images[2], 0, 0)
    assert outputs["occurrence"][2, ..., 3].max() > 0.2
    _, *lines = run_anew("part_search.py", *search, 3, "--count=5").splitlines()
    assert {line.split(":")[0] for line in lines} == {"05.png", "06.png", "07.png"}
    assert all(line.endswith("probability 0.90 at row 0, column 1") for line in lines)


def test_part_search_tells_what_is_wrong(
    error, patch_vae_version, beta_vae_version, images, outputs, tmp_path
):
    columns = {"key": np.array([path.name for path in images])}
    write_features(tmp_path / "keys.parquet", columns)
    columns |= {name: outputs[name] for name in ("occurrence", "appearance")}
    write_features(tmp_path / "parts.parquet", columns)
    columns["occurrence"] = columns["occurrence"][:, :1]
    write_features(tmp_path / "other.parquet", columns)
    (tmp_path / "text.png").write_text("text")
    good = [patch_vae_version, tmp_path / "parts.parquet", images[0], 0, 0]
    for changes, message in (
        ({0: tmp_path}, "SavedModel file does not exist"),
        ({0: beta_vae_version}, "it is no PatchVAE"),
        ({1: tmp_path / "absent.npz"}, "cannot be read: "),
        ({1: tmp_path / "keys.parquet"}, "holds no `occurrence`: make it of a PatchVAE"),
        ({1: tmp_path / "other.parquet"}, "take one model for both"),
        ({2: tmp_path / "text.png"}, "is not an image that can be read"),
        ({2: tmp_path / "absent.png"}, "No such file or directory"),
        ({3: 2}, "ROW must be one of 0 ... 1. Received: 2."),
        ({4: -1}, "COLUMN must be one of 0 ... 1. Received: -1."),
        ({5: 4}, "PART must be one of 0 ... 3. Received: 4."),
    ):
        arguments = [changes.get(index, value) for index, value in enumerate([*good, 0])]
        assert message in error("part_search.py", "--", *arguments)


@FORMATS
def test_what_the_command_writes_is_understood(run, patch_vae_version, tmp_path, suffix):
    _write_colours(tmp_path / "images", count=10)
    path = tmp_path / f"features{suffix}"
    settings = features.FeaturesConfig(
        saved_model=str(patch_vae_version),
        outputs="features,occurrence,appearance",
        dataset=f"{tmp_path}/images",
        output=str(path),
    )
    features.extract(settings)
    lines = run("sklearn_classifier.py", path).splitlines()
    assert lines[1].startswith("top-1 accuracy 100.0%")
    assert lines[2:] == ["  blue  100.0% of 2", "  red   100.0% of 2"]
    image = tmp_path / "images" / "red" / "3.png"
    lines = run("part_search.py", patch_vae_version, path, image, 0, 1).splitlines()
    assert lines[1].startswith("red/3.png: distance 0.00, ")
    assert all(line.startswith("red/") for line in lines[1:6])


@FORMATS
def test_near_duplicates_are_found_and_shown(run, images, outputs, tmp_path, suffix):
    path, output = tmp_path / f"features{suffix}", tmp_path / "found"
    keys = np.array([image.name for image in images])
    write_features(path, {"key": keys, "features": outputs["features"]})
    folder = images[0].parent
    out = run("near_duplicates.py", path, folder, f"--output={output}", "--nearest=3")
    lines = out.splitlines()
    assert lines[0].startswith("31 images, ")
    assert lines[1].split()[1:] == ["02.png", "30.png"]  # the last is the third, a little brighter
    rows = [line.split(",") for line in (tmp_path / "found.csv").read_text().splitlines()]
    assert rows[0] == ["image", "rank", "nearest", "likeness"]
    assert len(rows) == 1 + 31 * 3
    assert rows[1 + 2 * 3][:3] == ["02.png", "1", "30.png"]
    standard = (outputs["features"] - outputs["features"].mean(0)) / outputs["features"].std(0)
    first, other = standard[2], standard[30]
    cosine = first @ other / np.linalg.norm(first) / np.linalg.norm(other)
    assert float(rows[1 + 2 * 3][3]) == pytest.approx(cosine, abs=1e-3)
    page = (tmp_path / "found.html").read_text()
    sources = re.findall(r'src="([^"]+)"', page)
    assert all((tmp_path / source).is_file() for source in sources)
    assert sources[0].endswith("02.png")


def test_the_nearest_are_the_same_however_many_are_compared_at_once(monkeypatch):
    features = np.random.default_rng(0).integers(0, 3, (60, 3)).astype(np.float32)  # with doubles
    indices, likeness = near_duplicates.nearest(features, 7)
    standard = (features - features.mean(0)) / (features.std(0) + 1e-6)
    standard /= np.linalg.norm(standard, axis=1, keepdims=True) + 1e-12
    cosines = standard @ standard.T
    np.fill_diagonal(cosines, -np.inf)
    expected = np.argsort(-cosines, axis=1, kind="stable")[:, :7]
    np.testing.assert_allclose(likeness, np.take_along_axis(cosines, expected, 1), atol=1e-6)
    assert (np.diff(likeness, axis=1) <= 0).all()
    assert all(len({index, *row}) == 8 for index, row in enumerate(indices))
    monkeypatch.setattr(near_duplicates, "_COMPARED", 1)
    np.testing.assert_allclose(near_duplicates.nearest(features, 7)[1], likeness, atol=1e-6)


def test_near_duplicates_refuse_what_is_wrong(error, images, outputs, tmp_path):
    path = tmp_path / "features.npz"
    keys = np.array([image.name for image in images])
    write_features(path, {"key": keys, "features": outputs["features"]})
    script = "near_duplicates.py"
    assert "has no 00.png: give the folder" in error(script, path, tmp_path)
    assert "--nearest must be at least 1" in error(script, path, images[0].parent, "--nearest=0")
    write_features(path, {"key": keys})
    assert "holds no `key` and `features`" in error(script, path, images[0].parent)
    path.write_text("x")
    assert "cannot be read" in error(script, path, images[0].parent)
