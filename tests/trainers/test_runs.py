import json

import pytest

import patchvae_tf
from patchvae_tf import InputError, runs


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
    folder.check("config.json", {"num_parts": 16}, "other settings")  # nothing there yet
    runs.write_json(folder.path / "config.json", {"num_parts": 16, "seed": 0, "names": "a" * 99})
    folder.check("config.json", {"num_parts": 16, "seed": 0, "names": "a" * 99}, "other settings")
    with pytest.raises(InputError) as refused:
        folder.check("config.json", {"num_parts": 8, "seed": 0, "new": 2}, "other settings")
    message = str(refused.value)
    assert (
        "holds a run with other settings: num_parts is 16 there and 8 now; names is 'a" in message
    )
    assert "new is None there and 2 now" in message
    assert "a" * 60 not in message


def test_a_second_process_is_kept_out(tmp_path):
    folder = runs.RunFolder(tmp_path)
    with pytest.raises(InputError, match="another process runs in"):
        runs.RunFolder(tmp_path)
    del folder
    assert runs.RunFolder(tmp_path).path == tmp_path


def test_a_folder_that_was_made_for_nothing_goes_and_others_stay(tmp_path):
    with runs.RunFolder(tmp_path / "new"):
        assert (tmp_path / "new/.lock").exists()
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    for name in ("mine", "used", "used"):
        with runs.RunFolder(tmp_path / name) as folder:
            if name == "used":
                folder.write("config.json", {})
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "used"}


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written: .*Choose another run_dir"):
        runs.RunFolder(tmp_path / "file" / "run")


@pytest.mark.parametrize("run_dir", ["cifar100", "./cifar100/"])
def test_a_run_is_not_called_as_its_data_set(run_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is the data set's name, or its folder: .* another run_d"):
        patchvae_tf.train(run_dir, dataset="cifar100", epochs=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"{", b"[]", b"3", b"", b'{"a": "\xff"}'])
def test_a_broken_record_is_named(content, tmp_path):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json cannot be read .*Mend or remove it"):
        runs.RunFolder(tmp_path).check("config.json", {}, "other settings")


def test_metrics_after_the_restored_step_and_half_lines_go(tmp_path):
    folder = runs.RunFolder(tmp_path)
    for step in (10, 20, 30):
        folder.append_metrics({"step": step})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4')
    folder.drop_metrics_after(20)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 10}\n{"step": 20}\n'
    assert folder.last_metrics == {"step": 20}
