import html.parser
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.plugins.projector import projector_plugin

from patchvae_tf import BetaVAE, InputError, PatchVAE, datasets, runs, visualization
from patchvae_tf.report import curves as run_curves
from patchvae_tf.report import pictures as report_pictures
from patchvae_tf.report import projector
from patchvae_tf.report import writing as report
from patchvae_tf.settings import unsupervised_config
from patchvae_tf.training.execution import Execution
from patchvae_tf.unsupervised.trainer import Options, UnsupervisedTrainer
from tests import processes
from tests.testing_utils import random_images


class _Page(html.parser.HTMLParser):
    """Collects what a page refers to, and its text."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.links, self.ids, self.text = [], [], set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.sources += [attributes[name] for name in ("src", "data") if name in attributes]
        if "href" in attributes:
            self.links.append((tag, attributes["href"]))
        self.ids.add(attributes.get("id"))

    def handle_data(self, data):
        self.text += data


def _run_folder(folder, trained, **settings):
    """A finished run of an untrained model."""
    folder.mkdir()
    trained.save(folder / "model.keras")
    settings = {"model": "patchvae", "dataset": "unknown", "seed": 0, **settings}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "data.json").write_text(json.dumps({"training_images": 64, "skipped": []}))
    (folder / "result.json").write_text(
        json.dumps({"epoch": 1, "step": 8, "images_per_second": 12.0, "device": "<a & b>"})
    )
    records = [{"epoch": n, "step": 4 * n, "loss": 9.0 / n, "val_loss": 8.0 / n} for n in (1, 2)]
    lines = [json.dumps({**record, "images_per_second": 5.0}) + "\n" for record in records]
    (folder / "metrics.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "images.npz"
    pixels = (random_images(40, 16) * 255).astype("uint8")
    np.savez(path, x_train=pixels, y_train=np.arange(40) % 2)
    return path


def test_the_command_writes_a_page_that_needs_nothing_else(tmp_path, images):
    keras.utils.set_random_seed(0)
    model = PatchVAE(image_size=16, num_parts=4, appearance_dim=2)
    model.occurrence_head.bias.assign([-30.0, 30.0, 0.0, 0.0])
    run_dir = _run_folder(tmp_path / "run", model, dataset=str(images))
    done = processes.run("trainers.report", f"--run_dir={run_dir}")
    assert done.returncode == 0, done.stderr
    assert f"report on 40 images of {images}, train: {run_dir}/report.html" in done.stdout
    text = (run_dir / "report.html").read_text()
    page = _Page(text)
    names = {path.stem for path in (run_dir / "pictures").glob("*.png")}
    assert names == {
        "rebuilt", "occurrence-maps", "part-galleries", "swaps", "part-frequencies",
        "part-correlations", "prior-samples", "weight-masks", "features", "first-layer", "curves",
    }  # fmt: skip
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert len(page.sources) == len(names)
    assert {link for _, link in page.links} == {f"#{name}" for name in names}
    assert names <= page.ids
    assert "http" not in text
    numbers = json.loads((run_dir / "report.json").read_text())
    assert (numbers["images"], numbers["split"]) == (40, "train")
    assert (numbers["dead"], numbers["always_on"]) == ([0], [1])
    assert numbers["mean_probability"][1] == pytest.approx(1.0)
    assert "Dead (part 0)" in page.text
    assert "Always on (part 1)" in page.text
    assert "2 of 4 parts occur" in page.text
    assert "Trained for 1 epoch, 8 steps at 12 images/s on <a & b>." in page.text


def test_a_model_without_parts_has_a_report_too(tmp_path, images):
    model = BetaVAE(image_size=16, latent_dim=3)
    run_dir = _run_folder(tmp_path / "run", model, model="beta_vae")
    config = report.ReportConfig(run_dir=str(run_dir), dataset=str(images), split="train")
    assert report.write(config, model) == run_dir / "report.html"
    names = {path.stem for path in (run_dir / "pictures").glob("*.png")}
    assert names == {
        "rebuilt",
        "prior-samples",
        "weight-masks",
        "features",
        "first-layer",
        "curves",
    }


def test_equal_images_have_a_report_that_says_which_picture_is_not_there(tmp_path, caplog):
    data = tmp_path / "equal.npz"
    np.savez(data, x_train=np.repeat((random_images(1, 16) * 255).astype("uint8"), 150, axis=0))
    model = PatchVAE(image_size=16, num_parts=4, appearance_dim=2)
    run_dir = _run_folder(tmp_path / "run", model, dataset=str(data))
    (run_dir / "pictures").mkdir()
    (run_dir / "pictures/features.png").write_bytes(b"of an older report")
    path = report.write(report.ReportConfig(run_dir=str(run_dir)), model)
    page = _Page(path.read_text())
    assert "Features in two dimensions\nNo picture: a projection needs features that differ" in (
        page.text
    )
    names = {picture.stem for picture in (run_dir / "pictures").glob("*.png")}
    assert len(names) == len(page.sources) == 10
    assert "features" not in names
    assert "features" in page.ids
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Features in two dimensions: No picture: a projection needs" in caplog.text


def test_no_picture_that_fails_takes_the_report_with_it(tmp_path, images, monkeypatch, caplog):
    def broken(*_, **__):
        raise ZeroDivisionError("not today")

    drawing = [name for name in dir(visualization) if name.endswith("_figure")]
    for name in drawing:
        monkeypatch.setattr(visualization, name, broken)
    model = PatchVAE(image_size=16, num_parts=4, appearance_dim=2)
    run_dir = _run_folder(tmp_path / "run", model, dataset=str(images))
    page = _Page(report.write(report.ReportConfig(run_dir=str(run_dir)), model).read_text())
    assert page.text.count("No picture: ZeroDivisionError: not today.") == 11
    assert page.text.count("of 4 parts occur in some images and not in others") == 1
    assert page.sources == []
    assert sum(record.name == "patchvae_tf" for record in caplog.records) == 11
    assert json.loads((run_dir / "report.json").read_text())["images"] == 40


def test_no_report_that_fails_takes_the_run_s_result_with_it(tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise ZeroDivisionError("not today")

    monkeypatch.setattr(report, "write", broken)
    trainer = UnsupervisedTrainer(unsupervised_config(), Options(), Execution())
    with runs.RunFolder(tmp_path) as run_folder:
        trainer.after(run_folder)
    again = f"python -m trainers.report --run_dir={tmp_path}"
    assert capsys.readouterr().out == f"no report: ZeroDivisionError: not today. Try {again}\n"


def test_what_cannot_be_reported_is_refused_and_leaves_nothing(tmp_path, images):
    with pytest.raises(InputError, match="run_dir is missing"):
        report.ReportConfig()
    with pytest.raises(InputError, match="does not exist. Give the folder of a finished run"):
        report.write(report.ReportConfig(run_dir=str(tmp_path / "absent")))
    model = BetaVAE(image_size=16, latent_dim=3)
    run_dir = _run_folder(tmp_path / "run", model, model="beta_vae", dataset=None)
    with pytest.raises(InputError, match="does not say its data set: give dataset"):
        report.write(report.ReportConfig(run_dir=str(run_dir)))
    with pytest.raises(InputError, match="x_test"):
        report.write(report.ReportConfig(str(run_dir), dataset=str(images), split="test"), model)
    assert not (run_dir / "report.html").exists()


@pytest.mark.parametrize("most", [40, 39, 17, 3])
def test_the_images_looked_at_are_spread_and_each_once(images, most):
    stream = datasets.stream(str(images), "train", image_size=16)
    batches = list(report._batches(stream, 16, most))
    indices = np.concatenate([batch[0] for batch in batches])
    assert len(indices) == len(set(indices)) == most
    assert (np.diff(indices) > 0).all()
    assert (indices[0], indices[-1]) == (0, 39)
    for index, pixels, labels in batches:
        assert len(index) == len(pixels) == len(labels)


def test_matched_parts_stand_in_a_report_on_parts(monkeypatch):
    model = PatchVAE(image_size=32, num_parts=12, appearance_dim=2)
    scenes = datasets.load("parts", "test", image_size=32).take(np.arange(50))
    match = {"learned": 3, "area": 0.75}
    score = {
        "parts": dict.fromkeys(datasets.PART_NAMES, match), "images": 50, "mean_area": 0.75,
        "untrained_mean_area": 0.5, "shuffled_mean_area": 0.51,
    }  # fmt: skip
    monkeypatch.setattr(report_pictures.parts_score, "score", lambda *_: score)
    monkeypatch.setattr(report_pictures.datasets, "load", lambda *_, **__: scenes)
    (text,), figure = report_pictures._matching(model, 0, "test")
    assert "is 0.750 on average over 50 scenes" in text
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "striped disc\npart 3, area 0.75" in texts


def test_curves_are_tensorboard_s_and_later_points_replace_earlier_ones(tmp_path):
    run_dir = _run_folder(tmp_path / "run", BetaVAE(image_size=8, latent_dim=1))
    for values in ({1: 7.0, 3: 5.0}, {3: 4.0, 5: 2.0}):  # a run that was resumed after step 2
        with tf.summary.create_file_writer(str(run_dir / "tensorboard")).as_default():
            for step, value in values.items():
                tf.summary.scalar("train/loss", value, step=step)
    training, held_out = run_curves.read(run_dir)
    assert training["loss"] == ((1, 3, 5), (7.0, 4.0, 2.0))
    assert training["images_per_second"] == ([4, 8], [5.0, 5.0])
    assert held_out["loss"] == ([4, 8], [8.0, 4.0])
    assert not run_curves.are_recorded(tmp_path)
    with open(run_dir / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 3, "st')  # what a kill leaves
    with pytest.raises(InputError, match="metrics.jsonl cannot be read"):
        run_curves.read(run_dir)
    (run_dir / "metrics.jsonl").write_text("")
    with pytest.raises(InputError, match="metrics.jsonl has no epoch"):
        run_curves.read(run_dir)


def test_the_features_are_in_tensorboard_s_projector(tmp_path):
    images = (random_images(5, 16) * 255).astype("uint8")
    found = visualization.survey(
        PatchVAE(image_size=16, num_parts=2, appearance_dim=2),
        [(np.arange(5), images, np.array([0, 1, 0, -1, 1]))],
    )
    np.testing.assert_array_equal(found.thumbnails, images)
    projector.write(tmp_path, found)
    projector.write(tmp_path, found)  # a report that is written anew
    config = text_format.Parse(
        (tmp_path / "projector_config.pbtxt").read_text(), projector_plugin.ProjectorConfig()
    )
    (shown,) = config.embeddings
    tensor = projector_plugin._read_tensor_tsv_file(str(tmp_path / shown.tensor_path))
    np.testing.assert_allclose(tensor, found.features, rtol=1e-5)
    labels = (tmp_path / shown.metadata_path).read_text().split("\n")
    assert labels == ["class 0", "class 1", "class 0", "3", "class 1"]
    sprite = tf.io.decode_png((tmp_path / shown.sprite.image_path).read_bytes()).numpy()
    assert list(shown.sprite.single_image_dim) == [32, 32]
    assert sprite.shape == (96, 96, 3)  # three across
    expected = tf.image.resize(images[4:5], [32, 32], antialias=True)[0]
    np.testing.assert_allclose(sprite[32:64, 32:64], expected, atol=0.51)
    assert not sprite[32:, 64:].any()
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == [
        "features.tsv", "labels.tsv", "projector_config.pbtxt", "sprite.png",
    ]  # fmt: skip
