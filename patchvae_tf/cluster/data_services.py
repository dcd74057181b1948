"""The data services of a training: whether they answer, before it begins and while it runs."""

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from patchvae_tf.errors import InputError, RunError

_CONNECT_SECONDS = 5
_WATCH_SECONDS = 5  # between two looks
_MOST_SILENT_SECONDS = 60
_AGAIN = "Start it again, then this command: it goes on from the last checkpoint."


def check(addresses: Iterable[str]) -> None:
    """Raises InputError unless every "host:port" of `addresses` answers."""
    for address in addresses:
        problem = _problem(address)
        if problem:
            raise InputError(
                f"no data service answers at {address} ({problem}): start `python -m "
                "trainers.data_service` there."
            )


@contextlib.contextmanager
def watched(addresses: Sequence[str]) -> Iterator[None]:
    """Inside, a data service that fails, or is silent for a minute, ends the run with one line.

    TensorFlow would wait for a silent one for ever, and does not go on with one that was started
    anew. From the last checkpoint the run does.

    Args:
        addresses: of the services; nothing is watched without any.

    Raises:
        RunError: reading from a service failed.
    """
    done = threading.Event()
    if addresses:
        threading.Thread(target=_watch, args=(addresses, done), daemon=True).start()
    try:
        yield
    except Exception as error:
        if addresses and "IteratorGetNext" in str(error):
            raise RunError(
                f"a data service failed ({str(error).splitlines()[0]}). {_AGAIN}"
            ) from error
        raise
    finally:
        done.set()


def _watch(addresses, done):
    answered = dict.fromkeys(addresses, time.monotonic())
    while not done.wait(_WATCH_SECONDS):
        for address in addresses:
            problem = _problem(address)
            if not problem:
                answered[address] = time.monotonic()
            elif time.monotonic() - answered[address] > _MOST_SILENT_SECONDS and not done.is_set():
                silent = f"the data service at {address} is silent ({problem})"
                print(f"\nerror: {silent}. {_AGAIN}", file=sys.stderr, flush=True)
                os._exit(1)  # the main thread waits inside TensorFlow, and cannot be told


def _problem(address):
    """Why an address does not answer, or None."""
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    return None
