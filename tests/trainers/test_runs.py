import json

import pytest

from patchvae_tf import InputError
from trainers import runs


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.json"
    runs.write_json(path, {"a": 1})

    def fail_half_way():
        with runs.replaced_when_whole(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_half_way()
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_another_configuration_is_refused_with_the_difference_named(tmp_path):
    folder = runs.RunFolder(tmp_path / "run")
    folder.claim("config.json", {"num_parts": 16, "seed": 0, "prior": None})
    folder.claim("config.json", {"num_parts": 16, "seed": 0, "prior": None})
    with pytest.raises(InputError, match="num_parts is 16 there and 8 now; new is None there and"):
        folder.claim("config.json", {"num_parts": 8, "seed": 0, "prior": None, "new": 2})
    assert json.loads((tmp_path / "run/config.json").read_text())["num_parts"] == 16


def test_a_second_process_is_kept_out(tmp_path):
    folder = runs.RunFolder(tmp_path)
    with pytest.raises(InputError, match="another process runs in"):
        runs.RunFolder(tmp_path)
    del folder
    assert runs.RunFolder(tmp_path).path == tmp_path


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written: .*Choose another --run_dir"):
        runs.RunFolder(tmp_path / "file" / "run")


def test_a_broken_record_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json cannot be read .*Mend or remove it"):
        runs.RunFolder(tmp_path).claim("config.json", {})


def test_metrics_after_the_restored_step_and_half_lines_go(tmp_path):
    folder = runs.RunFolder(tmp_path)
    for step in (10, 20, 30):
        folder.append_metrics({"step": step})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4')
    folder.drop_metrics_after(20)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 10}\n{"step": 20}\n'
    assert folder.last_metrics == {"step": 20}
