"""Serves input: reads and decodes images on this machine for trainings on others."""

import dataclasses
import logging
import signal
import socket

from patchvae_tf import startup
from patchvae_tf.command_line import console
from patchvae_tf.errors import InputError
from patchvae_tf.settings import Settings, setting

USAGE = """\
Reads and decodes images on this machine for trainings on others (tf.data service).

  python -m trainers.data_service                          here, and then there:
  python -m trainers.unsupervised --dataset=FOLDER --streamed --data_service=THIS_MACHINE:5050

The data set must lie here under the path that the training names, and the package be of the same
version. A training may name several, separated by commas: they make its batches in turn.
"""


@dataclasses.dataclass(frozen=True)
class DataServiceConfig(Settings):
    """Settings of `python -m trainers.data_service`."""

    port: int = setting(
        5050, "Service", "for trainings; the one after it is used too", minimum=1, maximum=65534
    )
    host: str | None = setting(
        None, "Service", "name under which trainings reach this machine (default: its own)"
    )


def main(stop_request, config):
    """Reads the flags, then serves until it is stopped."""
    del stop_request  # there is nothing to save: whatever comes, stops
    serve(config)


def serve(config):
    """Serves until Ctrl-C or SIGTERM.

    Args:
        config: DataServiceConfig.

    Raises:
        InputError: a port is taken, or the host's name is not known.
    """
    host = config.host or socket.gethostname()
    _check_name(host)
    for port in (config.port, config.port + 1):
        _check_free(port)
    startup.import_tensorflow()
    import tensorflow as tf

    service = tf.data.experimental.service
    logging.getLogger("absl").setLevel(logging.ERROR)
    dispatcher = service.DispatchServer(service.DispatcherConfig(port=config.port))
    worker = service.WorkerServer(
        service.WorkerConfig(
            dispatcher_address=f"localhost:{config.port}",
            worker_address=f"{host}:{config.port + 1}",
            port=config.port + 1,
        )
    )
    print(f"serving input at {host}:{config.port}; Ctrl-C stops", flush=True)
    signal.pause()
    del worker, dispatcher


def _check_name(host):
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        raise InputError(
            f"the name {host!r} of this machine is not known to itself ({error.strerror}): give "
            "--host, a name or address that trainings reach it by."
        ) from error


def _check_free(port):
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("", port))
        except OSError as error:
            raise InputError(
                f"port {port} cannot be used ({error.strerror}): choose another --port."
            ) from error


def run():
    """The command."""
    console.run(main, USAGE, DataServiceConfig)


if __name__ == "__main__":
    run()
