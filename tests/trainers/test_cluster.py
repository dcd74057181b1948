import json
import subprocess
import sys

import pytest

from patchvae_tf import InputError
from patchvae_tf.cluster import launching as launch
from patchvae_tf.cluster import workers as cluster
from patchvae_tf.training.execution import Execution
from tests.faults.running import ENVIRONMENT
from tests.processes import ROOT

ADDRESSES = ("a:2222", "b:2222", "c:2222")


def test_a_worker_finds_itself_and_its_rows():
    third = cluster.from_environment({"TF_CONFIG": cluster.tf_config(ADDRESSES, 2)})
    assert third == cluster.Cluster(ADDRESSES, 2)
    assert (third.workers, third.is_chief) == (3, False)
    assert third.rows(12) == range(8, 12)
    assert cluster.Cluster().rows(12) == range(12)


def test_a_chief_beside_the_workers_comes_first():
    roles = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    for kind, index, place in (("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)):
        text = json.dumps({"cluster": roles, "task": {"type": kind, "index": index}})
        assert cluster.from_environment({"TF_CONFIG": text}) == cluster.Cluster(
            ("a:1", "b:1", "c:1"), place
        )


@pytest.mark.parametrize("text", [None, "", cluster.tf_config(["a:1"], 0)])
def test_without_others_a_run_is_on_one_machine(text):
    environment = {} if text is None else {"TF_CONFIG": text}
    assert cluster.from_environment(environment) == cluster.Cluster()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be understood"),
        ("[]", "cannot be understood"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "cannot be understood"),
        (cluster.tf_config(ADDRESSES, 3), "worker 3 of 3 workers"),
        (cluster.tf_config(ADDRESSES, 0).replace('"worker", "index"', '"ps", "index"'), "ps 0"),
    ],
)
def test_a_wrong_tf_config_is_named(text, message):
    with pytest.raises(InputError, match=message) as error:
        cluster.from_environment({"TF_CONFIG": text})
    assert 'expected {"cluster": {"worker"' in str(error.value)


def test_a_command_for_one_machine_refuses_several():
    cluster.refuse(cluster.Cluster(), "trainers.transfer")
    with pytest.raises(InputError, match="trainers.transfer runs on one machine, .* 3 workers"):
        cluster.refuse(cluster.Cluster(ADDRESSES, 1), "trainers.transfer")


def test_the_launcher_says_what_to_run_where():
    shown = launch.instructions(ADDRESSES[:2], ["trainers.unsupervised", "--epochs=2"])
    lines = shown.splitlines()
    assert lines[::2] == ["# on a", "# on b"]
    for index, line in enumerate(lines[1::2]):
        setting, rest = line.split("' ")
        assert rest == "python -m trainers.unsupervised --epochs=2"
        text = setting.removeprefix("TF_CONFIG='")
        expected = cluster.Cluster(ADDRESSES[:2], index)
        assert cluster.from_environment({"TF_CONFIG": text}) == expected


@pytest.mark.parametrize("value", ["cpu", "tpu:2", "cpu:0", "2", "gpu:two"])
def test_devices_are_a_kind_and_a_number(value):
    with pytest.raises(InputError, match=f"devices must be cpu:N or gpu:N.*{value}"):
        Execution(devices=value)


def test_the_launcher_fails_with_the_worker_that_failed():
    command = [sys.executable, "-m", "trainers.launch", "--workers=2", "--"]
    command += ["trainers.unsupervised", "--num_parts=0"]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "error: num_parts must be at least 1" in done.stderr
    assert "[worker 1] error: num_parts must be at least 1" in done.stderr
    assert "Traceback" not in done.stderr
    no_command = subprocess.run(command[:4], cwd=ROOT, capture_output=True, text=True)
    assert no_command.returncode == 1
    assert "give the command after --" in no_command.stderr
