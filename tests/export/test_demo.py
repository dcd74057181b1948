"""The demo: its answers, and the page itself in a headless browser with real uploads."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

from patchvae_tf import InputError
from patchvae_tf.demo import editing, explanation
from patchvae_tf.demo import page as demo
from patchvae_tf.settings.pixels import Pixels
from tests.export.exporting import ROOT, SIZE
from tests.testing_utils import random_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five image files, of the model's own size."""
    folder = tmp_path_factory.mktemp("folder")
    for index, image in enumerate((random_images(5, SIZE, seed=9) * 255).astype("uint8")):
        Image.fromarray(image).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def shown(exported, folder):
    return demo.Demo(demo.DemoConfig(saved_model=str(exported[1]), dataset=str(folder)))


def test_an_image_s_own_file_is_the_nearest(shown, folder, exported):
    index = shown._index
    assert len(index.indices) == 5
    image = explanation.read_upload((folder / "3.png").read_bytes(), SIZE, Pixels())
    outputs = exported[0]((image[None] / 255.0).astype("float32"))
    for part in range(4):
        appearance = outputs["appearance_mean"].numpy()[0, part]
        index.peaks[:, part] = 1.0  # it occurs in all of them
        (nearest, distance), (_, next_distance) = index.nearest(part, appearance, 2)
        assert nearest == 3
        assert distance < 1e-3 < next_distance
    np.testing.assert_array_equal(index.images([3]), image[None])


def test_pictures_are_named_and_are_png(shown, folder):
    pictures = shown.pictures(shown.see((folder / "0.png").read_bytes()))
    assert [title for title, _, _ in pictures] == [
        "What the model rebuilds",
        "Where each part occurs",
        "Images whose part looks most like this one's",
    ]
    assert all(address.startswith("data:image/png;base64,") for _, address, _ in pictures)


def _latent(codes):
    """The latent map that the model itself makes, [h, w, N * d_p]."""
    return codes["latent"].numpy()[0]


def test_a_part_is_left_out_moved_and_given_another_look(exported):
    model = exported[0]
    image, donor = random_images(2, SIZE, seed=4)
    codes, of_donor = model(image[None]), model(donor[None])
    occurrence = codes["occurrence"].numpy()[0]  # [h, w, N]
    appearance = codes["appearance_mean"].numpy()[0]  # [N, d_p]
    np.testing.assert_allclose(editing.latent(occurrence, appearance), _latent(codes), rtol=1e-6)

    size = appearance.shape[1]
    change = editing.Change(1, occurs=False)
    without = editing.latent(occurrence, appearance, change).reshape([*occurrence.shape, size])
    assert not without[:, :, 1].any()
    others = np.arange(len(appearance)) != 1
    kept = _latent(codes).reshape([*occurrence.shape, size])
    np.testing.assert_allclose(without[:, :, others], kept[:, :, others], rtol=1e-6)

    change = editing.Change(1, rows=1, columns=-1)
    moved = editing.latent(occurrence, appearance, change).reshape([*occurrence.shape, size])
    np.testing.assert_allclose(moved[1:, :-1, 1], kept[:-1, 1:, 1], rtol=1e-6)
    assert not moved[0, :, 1].any()
    assert not moved[:, -1, 1].any()

    look = of_donor["appearance_mean"].numpy()[0, 1]
    change = editing.Change(1, look=look)
    swapped = editing.latent(occurrence, appearance, change).reshape([*occurrence.shape, size])
    np.testing.assert_allclose(swapped[:, :, 1], occurrence[:, :, 1:2] * look, rtol=1e-6)
    np.testing.assert_array_equal(appearance, codes["appearance_mean"].numpy()[0])


def test_what_is_rebuilt_follows_the_change(shown, folder):
    seen = shown.see((folder / "0.png").read_bytes())
    as_it_is, _ = shown.changed(seen, editing.Change(0))
    without, width = shown.changed(seen, editing.Change(0, occurs=False))
    assert as_it_is.startswith("data:image/png;base64,")
    assert without != as_it_is
    assert width > 500


def test_a_preset_needs_no_run(folder):
    of_preset = demo.Demo(demo.DemoConfig(saved_model="parts"))
    assert of_preset.title == "preset parts"
    assert of_preset.has_parts
    seen = of_preset.see((folder / "0.png").read_bytes())
    latent = editing.latent(seen.outputs["occurrence"], seen.outputs["appearance"])
    decoded = of_preset._signatures["decode"](latent=latent[None])["images"][0]
    np.testing.assert_allclose(decoded, seen.reconstruction, atol=1e-4)


def test_uploads_have_the_training_s_range_of_values_or_the_one_asked_for(exported, tmp_path):
    version = shutil.copytree(exported[1], tmp_path / "1")
    facts = json.loads((version / "model.json").read_text())
    facts["run"] = {"settings": {"value_range": "0,4095"}}
    (version / "model.json").write_text(json.dumps(facts))
    buffer = io.BytesIO()
    Image.fromarray(np.full((SIZE, SIZE), 2048, np.uint16)).save(buffer, "PNG")
    for asked, expected in ((None, 128), ("0,8190", 64)):
        of_run = demo.Demo(demo.DemoConfig(saved_model=str(version), value_range=asked))
        assert (of_run.see(buffer.getvalue()).image == expected).all()


def test_parts_that_do_not_occur_are_not_searched():
    index = explanation.PartIndex(
        stream=None,
        indices=np.arange(4),
        peaks=np.array([[0.9], [0.1], [0.8], [0.2]], "float32"),
        appearance=np.array([[[0.0]], [[1.0]], [[2.0]], [[3.0]]], "float32"),
    )
    assert [position for position, _ in index.nearest(0, np.array([1.2]), 9)] == [2, 0]


def test_uploads_that_are_no_images_get_a_message():
    with pytest.raises(InputError, match="not an image that can be read"):
        explanation.read_upload(b"nonsense", SIZE, Pixels())
    for other in ("TIFF", "PPM"):  # sound, but TensorFlow decodes none
        buffer = io.BytesIO()
        Image.new("RGB", (40, 40)).save(buffer, other)
        with pytest.raises(InputError, match="Give a JPEG, PNG, GIF, BMP or WEBP"):
            explanation.read_upload(buffer.getvalue(), SIZE, Pixels())
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), "uint8")).save(
        buffer, "PNG"
    )
    with pytest.raises(InputError, match="broken"):
        explanation.read_upload(buffer.getvalue()[:1000], SIZE, Pixels())
    buffer = io.BytesIO()
    Image.new("1", (10_000, 6_000)).save(buffer, "PNG")  # a few kilobytes
    with pytest.raises(InputError, match="10000 × 6000 pixels: at most 50 million"):
        explanation.read_upload(buffer.getvalue(), SIZE, Pixels())


def test_settings_that_cannot_be_are_refused(exported, tmp_path):
    assert demo.DemoConfig(saved_model="x").host == "127.0.0.1"
    with pytest.raises(InputError, match="saved_model is missing"):
        demo.DemoConfig()
    with pytest.raises(InputError, match="value_range must be two numbers"):
        demo.DemoConfig(saved_model="x", value_range="12")
    with pytest.raises(InputError, match="does not exist"):
        demo.Demo(demo.DemoConfig(saved_model=str(tmp_path / "absent")))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match="cannot be served .* Choose another port"):
            demo._check_port("127.0.0.1", port)


def test_an_upload_is_brought_to_size():
    buffer = io.BytesIO()
    Image.fromarray(np.full((50, 80, 3), 77, np.uint8)).save(buffer, "PNG")
    image = explanation.read_upload(buffer.getvalue(), SIZE, Pixels())
    assert image.shape == (SIZE, SIZE, 3)
    assert (image == 77).all()


@pytest.fixture
def browser(tmp_path):
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no chromium and chromedriver (apt-get install chromium chromium-driver)")
    pytest.importorskip("nicegui", reason="no nicegui (requirements-demo.txt)")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=900,1400"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture
def address(exported, folder):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
    server = subprocess.Popen(
        [
            sys.executable, "-m", "export.demo", f"--saved_model={exported[1]}",
            f"--dataset={folder}", f"--port={port}", "--max_megabytes=1",
        ],
        cwd=ROOT, env=environment,  # else NiceGUI takes itself for a test
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}/"
    deadline = time.monotonic() + 400
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            break
        except OSError:
            assert server.poll() is None, server.stdout.read()
            assert time.monotonic() < deadline, "the page did not come up"
            time.sleep(0.3)
    yield address
    server.terminate()
    server.wait(30)


@pytest.mark.slow
def test_the_page_in_a_browser(browser, address, folder, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(browser, 200)
    browser.get(address)

    def upload(path):
        inputs = wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, "input[type=file]"))
        inputs[0].send_keys(str(path))

    def text():
        return browser.find_element(By.TAG_NAME, "body").text

    upload(folder / "2.png")
    pictures = wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, "img[alt]"))
    wait.until(lambda b: len(b.find_elements(By.CSS_SELECTOR, "img[alt]")) == 4)
    pictures = browser.find_elements(By.CSS_SELECTOR, "img[alt]")
    assert [picture.get_attribute("alt") for picture in pictures] == [
        "What the model rebuilds",
        "Where each part occurs",
        "Images whose part looks most like this one's",
        "Change a part",
    ]
    assert all(int(picture.get_property("naturalWidth")) > 200 for picture in pictures)
    assert "2.png" in text()

    def changed():
        found = browser.find_elements(By.CSS_SELECTOR, "img[alt='Change a part']")
        return found[0].get_attribute("src") if found else None

    as_it_was = changed()
    browser.find_element(By.CSS_SELECTOR, "[role=switch]").click()
    wait.until(lambda b: changed() not in (None, as_it_was))

    broken = tmp_path / "broken.png"
    broken.write_bytes((folder / "1.png").read_bytes()[:60])
    upload(broken)
    wait.until(lambda b: "broken.png: This " in text())
    assert not browser.find_elements(By.CSS_SELECTOR, "img[alt]")

    large = tmp_path / "large.png"
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    Image.fromarray(noise).save(large)
    assert large.stat().st_size > 2**20
    upload(large)
    wait.until(lambda b: "larger than 1 MB" in text())

    upload(folder / "4.png")  # and it still answers
    wait.until(lambda b: len(b.find_elements(By.CSS_SELECTOR, "img[alt]")) == 4)
    assert "4.png" in text()
