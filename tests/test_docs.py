"""The pages under docs/ name what is there, and the reference builds without a warning."""

import functools
import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest

from patchvae_tf.command_line import main

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "examples/README.md",
]


def _name(page):
    return str(page.relative_to(ROOT))


@functools.cache
def _build_flags():
    spec = importlib.util.spec_from_file_location("build_flags", ROOT / "docs/build_flags.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _without_code(page):
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def _anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked), target


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "BUILD.md"], ids=_name)
def test_the_first_pages_are_short(page):
    assert page.stat().st_size <= 12_288


def test_the_page_of_flags_is_what_the_commands_say():
    assert (ROOT / "docs/flags.md").read_text() == _build_flags().page(), (
        "python docs/build_flags.py writes it anew"
    )


def test_the_page_of_flags_has_every_command():
    headings = re.findall(r"^## patchvae (.*)$", (ROOT / "docs/flags.md").read_text(), re.MULTILINE)
    assert headings == list(main.COMMANDS)


def test_the_method_names_files_and_what_is_in_them():
    rows = re.findall(
        r"\| `([\w/]+\.py)` \| (.*?) \|$", (ROOT / "docs/method.md").read_text(), re.M
    )
    assert len(rows) > 20
    for file, names in rows:
        text = (ROOT / file).read_text()
        for name in re.findall(r"`([\w.]+)`", names):
            *owner, last = name.split(".")
            defined = rf"(?:def|class) {last}\b|^{last} =|name=\"{last}\"|def build_{last}"
            assert re.search(defined, text, re.MULTILINE), (file, name)
            for word in owner:
                assert f"class {word}" in text, (file, name)


def test_flags_that_the_pages_name_exist():
    help_text = subprocess.run(
        [sys.executable, "-m", "trainers.unsupervised", "--helpfull"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for page in (ROOT / "docs/choosing.md", ROOT / "docs/troubleshooting.md"):
        for flag in set(re.findall(r"`--(\w+)", page.read_text())):
            assert f"--{flag}" in help_text or f"--[no]{flag}" in help_text, (page.name, flag)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_that_the_pages_give_have_their_flags(page):
    """Each `python -m trainers....` and `patchvae ...` line in a block of commands."""
    commands = {module: name for name, (module, _) in main.COMMANDS.items()}
    blocks = re.findall(r"^```(?:sh|text)?\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        for call in line.split(" | ")[0].split(" -- "):
            run = re.search(r"(?:-m )?\b((?:trainers|export)\.\w+)(.*)", call.partition("#")[0])
            named = re.search(r"\bpatchvae ([a-z-]+)(.*)", call.partition("#")[0])
            if not run and not (named and named[1] in main.COMMANDS):
                continue
            command, rest = (commands[run[1]], run[2]) if run else named.groups()
            known = _flags_of(command)
            for flag in re.findall(r"--(\w+)", rest):
                assert flag in known or flag.removeprefix("no") in known, (line, flag)


@functools.cache
def _flags_of(command):
    text = (ROOT / "docs/flags.md").read_text()
    section = text.partition(f"## patchvae {command}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `--(\w+)`", section, re.MULTILINE)) | {"help", "helpfull"}


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
