"""Starts the workers of a run: on this machine, to try it, or says what each machine needs."""

import dataclasses
import sys

from patchvae_tf.cluster import launching
from patchvae_tf.command_line import console
from patchvae_tf.errors import InputError
from patchvae_tf.settings import Settings, setting

USAGE = """\
Starts a command of this package on several workers that train one model together.

  python -m trainers.launch --workers=2 -- patchvae_tf train --dataset=FOLDER
                     two workers on this machine, to try it
  python -m trainers.launch --addresses=a:2222,b:2222 -- patchvae_tf train --dataset=FOLDER
                     prints what to run on the machines a and b, and starts nothing

All workers get the same flags and must see the same --run_dir and data. If one fails, the others
are stopped; the same command goes on from the last checkpoint.
"""


@dataclasses.dataclass(frozen=True)
class LaunchConfig(Settings):
    """Settings of `python -m trainers.launch`."""

    workers: int = setting(2, "Launch", "how many to start on this machine", minimum=1)
    addresses: str | None = setting(
        None, "Launch", "host:port of each machine's worker, with commas: only print what to run"
    )


def main(stop_request, config, command):
    """Starts the workers, or prints how to."""
    if not command:
        raise InputError("give the command after --, e.g. -- patchvae_tf train --epochs=2")
    if config.addresses:
        print(launching.instructions(config.addresses.split(","), command))
        return
    code = launching.launch(config.workers, command, stop_request)
    if code:
        sys.exit(code)


def run():
    """The command."""
    console.run(main, USAGE, LaunchConfig, takes_command=True)


if __name__ == "__main__":
    run()
