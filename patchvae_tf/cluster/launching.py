"""Starts the workers of a run: on this machine, to try it, or says what each machine needs."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import typing
from collections.abc import Sequence

from patchvae_tf.cluster.workers import tf_config

if typing.TYPE_CHECKING:
    from patchvae_tf.interruption import StopRequest

_GRACE_SECONDS = 30.0  # for the others, after a worker is gone, to stop by themselves
_KILL_SECONDS = 30.0  # from SIGTERM to SIGKILL, which alone ends a worker that waits for a lost one


def instructions(addresses: Sequence[str], command: Sequence[str]) -> str:
    """What to run on each machine, as lines of a shell."""
    lines = []
    for index, address in enumerate(addresses):
        lines += [
            f"# on {address.rpartition(':')[0] or address}",
            f"TF_CONFIG={shlex.quote(tf_config(addresses, index))} python -m {shlex.join(command)}",
        ]
    return "\n".join(lines)


def launch(count: int, command: Sequence[str], stop_request: "StopRequest") -> int:
    """Runs `command` (a module and its flags) as `count` workers on this machine.

    A signal to stop is handed on to all of them; what they cannot finish then is killed.

    Returns:
        int, the exit status: 0, or that of the first worker that failed.
    """
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(count)]
    workers = []
    try:
        for index in range(count):
            workers.append(_Worker(index, addresses, command))
        with stop_request.deferred():
            return _wait(workers, stop_request)
    finally:
        for worker in workers:
            worker.kill()


def _wait(workers, stop_request):
    code, deadline, terminated = 0, None, False
    while any(worker.is_running for worker in workers):
        failed = [worker for worker in workers if worker.code]
        if failed and not code:
            code = failed[0].code if failed[0].code > 0 else 128 - failed[0].code
            if failed[0].code < 0:
                name = signal.Signals(-failed[0].code).name
                print(f"worker {failed[0].index} was ended by {name}", file=sys.stderr)
            deadline = deadline or time.monotonic() + _GRACE_SECONDS
        if not terminated and (
            stop_request.requested or (deadline and time.monotonic() > deadline)
        ):
            terminated, deadline = True, time.monotonic() + _KILL_SECONDS
            for worker in workers:
                worker.terminate()
        elif terminated and time.monotonic() > deadline and failed:
            break  # The caller kills what is left.
        time.sleep(0.1)
    return code or next((abs(worker.code or 0) for worker in workers if worker.code), 0)


class _Worker:
    """A process of its own session; the lines of all but the chief are marked."""

    def __init__(self, index, addresses, command):
        self.index = index
        self._reader = None
        kept = {} if index == 0 else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env={**os.environ, "TF_CONFIG": tf_config(addresses, index)},
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the launcher alone, which hands it on
            **kept,
        )
        if index:
            self._reader = threading.Thread(target=self._mark, daemon=True)
            self._reader.start()

    def _mark(self):
        for line in self._process.stdout:
            if line.strip():
                print(f"[worker {self.index}] {line.rstrip()}", file=sys.stderr, flush=True)

    @property
    def code(self):
        return self._process.poll()

    @property
    def is_running(self):
        return self.code is None

    def terminate(self):
        if self.is_running:
            self._process.terminate()

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        if self._reader is not None:
            self._reader.join(5.0)


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
