"""Runs the test double until it is stopped: `python -m tests.serving_double --model_dir=DIR`."""

import argparse
import os
import pathlib
import signal
import sys
import threading


def main():
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.serving_double",
        description="A test double of TF Serving, on 127.0.0.1. It is not TF Serving.",
    )
    parser.add_argument("--model_dir", required=True, help="folder that holds the versions")
    parser.add_argument("--model_name", default="patchvae")
    parser.add_argument("--rest_port", type=int, default=8501, help="0: any that is free")
    parser.add_argument("--grpc_port", type=int, default=8500, help="0: any that is free")
    flags = parser.parse_args()
    if not pathlib.Path(flags.model_dir).is_dir():
        sys.exit(
            f"error: --model_dir {flags.model_dir} is no folder: give the one with the versions."
        )

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tests.serving_double.serving import ServingDouble

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        double = ServingDouble(flags.model_dir, flags.model_name, flags.rest_port, flags.grpc_port)
    except (OSError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    with double:
        print(f"test double: REST {double.rest}, gRPC {double.grpc}", flush=True)
        stopped.wait()


if __name__ == "__main__":
    main()
