"""The pages under docs/ name what is there, and the reference builds without a warning."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_the_method_names_files_and_what_is_in_them():
    rows = re.findall(
        r"\| `([\w/]+\.py)` \| (.*?) \|$", (ROOT / "docs/method.md").read_text(), re.M
    )
    assert len(rows) > 20
    for file, names in rows:
        text = (ROOT / file).read_text()
        for name in re.findall(r"`([\w.]+)`", names):
            *owner, last = name.split(".")
            assert last in text, (file, name)
            for word in owner:
                assert f"class {word}" in text, (file, name)


def test_flags_that_the_pages_name_exist():
    help_text = subprocess.run(
        [sys.executable, "-m", "trainers.unsupervised", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for page in (ROOT / "docs/choosing.md", ROOT / "docs/troubleshooting.md"):
        for flag in set(re.findall(r"`--(\w+)", page.read_text())):
            assert f"--{flag}" in help_text or f"--[no]{flag}" in help_text, (page.name, flag)


@pytest.mark.slow
def test_the_reference_builds_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "docs/build_api.py", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Warn" not in done.stderr
    page = (tmp_path / "patchvae_tf/models/patch_vae.html").read_text()
    assert "Learns parts: where each occurs in an image" in page
    for module in ("patchvae_tf/visualization/swaps", "trainers/report", "export/demo"):
        assert (tmp_path / f"{module}.html").exists()
