"""The examples run as a user runs them: elsewhere, and where our packages are not installed."""

from patchvae_tf.features import extraction as features
from tests.examples.conftest import FORMATS, write_colours
from tests.export.exporting import ROOT


def test_the_page_shows_every_script():
    page = (ROOT / "examples" / "README.md").read_text()
    for path in (ROOT / "examples").glob("*.py"):
        assert f"| [{path.name}]({path.name}) |" in page
        assert page.count(path.name) > 2  # its output too


@FORMATS
def test_what_the_command_writes_is_understood(run, patch_vae_version, tmp_path, suffix):
    write_colours(tmp_path / "images", count=10)
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
