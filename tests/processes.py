"""Commands as processes of their own that need not import TensorFlow again.

Each is forked from a process that has imported it and done nothing with it: exit status, streams,
signals and memory are those of a new interpreter, without the seconds of its imports. What is about
the imports themselves, or about the environment that an interpreter starts in, needs `subprocess`.
"""

import atexit
import dataclasses
import functools
import multiprocessing
import os
import pathlib
import runpy
import sys
import tempfile
import time
from multiprocessing import forkserver
from unittest import mock

ROOT = pathlib.Path(__file__).parents[1]
OURS = ("patchvae_tf", "export", "trainers")
SECONDS = 600  # that a command may take on a machine that does much else

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "matplotlib.pyplot",
        "patchvae_tf.report.pictures",
        "patchvae_tf.saved_models.writing",
        "patchvae_tf.training.checkpoints",
        "patchvae_tf.training.loop",
        "patchvae_tf.training.summaries",
        "patchvae_tf.transfer.model",
        "patchvae_tf.unsupervised.images",
        "patchvae_tf.unsupervised.pictures",
        "tensorflow_serving.apis.prediction_log_pb2",
    ]
)


@functools.cache
def _start_server():
    """Starts what the processes are forked from, as quiet as the commands make TensorFlow."""
    with mock.patch.dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"):
        forkserver.ensure_running()


@dataclasses.dataclass(frozen=True)
class Finished:
    """A process that has ended: its exit status, -N by signal N, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


class Running:
    """A process under way, with the methods of a `subprocess.Popen`.

    Args:
        program: a module, as of `python -m`; or the path of a script, which runs as if none of our
            packages were installed.
        *arguments: its command line.
        folder: where it runs.
    """

    def __init__(self, program, *arguments, folder=ROOT):
        _start_server()
        self._streams = tempfile.TemporaryDirectory()
        words = [str(program), *map(str, arguments)]
        self._process = _CONTEXT.Process(target=_program, args=(words, folder, self._streams.name))
        self._process.start()

    @property
    def pid(self):
        return self._process.pid

    def poll(self):
        """Its exit status, or None."""
        return self._process.exitcode

    @property
    def returncode(self):
        return self.poll()

    def send_signal(self, number):
        os.kill(self.pid, number)

    def terminate(self):
        self._process.terminate()

    def kill(self):
        self._process.kill()

    def wait(self, timeout=SECONDS):
        """Waits for its end; what takes longer is killed."""
        self._process.join(timeout)
        if self.poll() is None:
            self.kill()
            self._process.join()

    def communicate(self, timeout=SECONDS):
        """(stdout, stderr), once it has ended."""
        self.wait(timeout)
        streams = [pathlib.Path(self._streams.name, name) for name in ("stdout", "stderr")]
        return tuple(path.read_text() if path.exists() else "" for path in streams)

    def wait_for(self, condition):
        """Waits until `condition()` while the process is under way."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self.poll() is None, self.finished().stderr
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def finished(self):
        """Waits for its end; returns it Finished."""
        texts = self.communicate()
        return Finished(self.poll(), *texts)


def run(program, *arguments, folder=ROOT):
    """Runs a program to its end; returns it Finished."""
    return Running(program, *arguments, folder=folder).finished()


def _program(words, folder, streams):
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(os.path.join(streams, name), os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    sys.argv = words
    try:
        if words[0].endswith(".py"):
            _hide_our_packages()
            runpy.run_path(words[0], run_name="__main__")
        else:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # which `multiprocessing` passes over


def _hide_our_packages():
    for name in list(sys.modules):
        if name.partition(".")[0] in OURS:
            del sys.modules[name]
    sys.modules.update(dict.fromkeys(OURS))  # None: their import fails
