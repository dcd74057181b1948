"""What a long run holds in memory."""

import numpy as np
import psutil
import pytest

from tests.faults import running

EPOCH_STEPS, EPOCHS = 100, 20


@pytest.mark.slow
@pytest.mark.parametrize("source", ["decoded", "streamed"])
def test_memory_does_not_grow_over_two_thousand_steps(source, tmp_path):
    images = running.write_images(tmp_path / "images.npz", 8 * EPOCH_STEPS + 4)
    flags = ["--noexport", f"--epochs={EPOCHS}", "--checkpoint_minutes=60"]
    if source == "streamed":
        pixels = np.load(images)["x_train"]
        running.write_records(tmp_path, pixels)
        images = "noise"
        flags += [f"--data_dir={tmp_path}", "--streamed", "--shuffle_window=64"]
    resident = {}  # by finished epochs
    with running.started(images, tmp_path / "run", *flags) as process:
        record = tmp_path / "run/metrics.jsonl"

        def epochs():
            return len(record.read_text().splitlines()) if record.exists() else 0

        for epoch in range(1, EPOCHS):
            assert running.wait_for(lambda: epochs() >= epoch, process), epoch  # noqa: B023
            resident[epoch] = psutil.Process(process.pid).memory_info().rss
        _, errors = process.communicate(timeout=running.SECONDS)
    assert process.returncode == 0, errors
    print({epoch * EPOCH_STEPS: round(size / 1e6, 1) for epoch, size in resident.items()})
    from_step_200 = [size for epoch, size in resident.items() if epoch >= 2]
    assert max(from_step_200) <= 1.02 * from_step_200[0]
