"""Ctrl-C and SIGTERM, as commands answer them."""

import signal
import subprocess
import sys

import pytest

# Such is what code of other languages makes of an exception that it did not expect.
COMMAND = """
import os
from patchvae_tf.command_line import console

def main(stop_request):
    if {saves}:
        with stop_request.deferred():
            pass
    try:
        if {number}:
            os.kill(os.getpid(), {number})
    except BaseException:
        raise TypeError("not to be bound")
    raise TypeError("of its own")

console.run(main, "Stops.")
"""


def _run(number, saves=False):
    command = COMMAND.format(number=int(number), saves=saves)
    return subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("number", "saves", "advice"),
    [
        (signal.SIGINT, True, "the same command goes on from here"),
        (signal.SIGTERM, False, "give the same command again"),
    ],
)
def test_a_stop_that_other_code_made_an_error_of_is_a_stop(number, saves, advice):
    done = _run(number, saves)
    assert done.returncode == 128 + number
    assert done.stderr.strip() == f"stopped by {number.name} before it was done: {advice}."


def test_an_error_is_not_taken_for_a_stop():
    done = _run(0)
    assert done.returncode == 1
    assert "TypeError: of its own" in done.stderr
