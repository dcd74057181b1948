"""How a command meets its user: one line for an error, and a stop that loses nothing."""

import codecs
import errno
import io
import logging
import os
import sys

import tqdm
from absl import app, flags
from absl import logging as absl_logging

from patchvae_tf.command_line import config_flags
from patchvae_tf.errors import InputError, RunError, WorkerLostError
from patchvae_tf.interruption import GO_ON, Stop, StopRequest


# For streams that cannot show them, as under LC_ALL=C.
_PLAIN = {"×": "x", "φ": "phi", "β": "beta", "…": "...", "–": "-", "’": "'", "Σ": "sum", "≥": ">="}


def _in_plain_characters(error):
    """Handles an error of encoding: what has no plain form is escaped."""
    text = error.object[error.start : error.end]
    plain = "".join(
        _PLAIN.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in text
    )
    return plain, error.end


def show_anything(*streams):
    """From now on no character stops these text streams, whatever their encoding."""
    codecs.register_error("plain", _in_plain_characters)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")


class _BesideBars(logging.Handler):
    """Lines on stderr, above progress bars."""

    def emit(self, record):
        tqdm.tqdm.write(self.format(record), file=sys.stderr)


def _show_warnings():
    """The package's own warnings reach the user, whatever absl does with those of others."""
    handler = _BesideBars()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    own = logging.getLogger("patchvae_tf")
    own.setLevel(logging.WARNING)
    own.addHandler(handler)
    own.propagate = False


def run(main, usage, *config_classes, takes_command=False):
    """Runs a command: quiet TensorFlow, one-line errors, exit status.

    Args:
        main: function (stop_request, *configs), and the words after `--` where `takes_command`.
        usage: str, what the command does and examples.
        *config_classes: dataclasses of `setting`s; each field is a flag.
        takes_command: bool, whether what follows `--` is another command.
    """
    show_anything(sys.stdout, sys.stderr)
    # Before TensorFlow is imported: its notes about the processor and absent GPUs help nobody.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    absl_logging.set_verbosity(absl_logging.ERROR)
    config_flags.define(*config_classes)

    def guarded(rest):
        _show_warnings()  # only now: absl sets its own handler and level when it begins
        try:
            configs = [config_flags.read(config_class) for config_class in config_classes]
            main(StopRequest(), *configs, *([rest[1:]] if takes_command else []))
        except WorkerLostError as error:
            # At a usual exit TensorFlow would wait for the lost worker.
            print(f"error: {error}", file=sys.stderr, flush=True)
            sys.stdout.flush()
            os._exit(1)
        except (InputError, RunError) as error:
            sys.exit(f"error: {error}")
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            sys.exit(f"error: {error}. Make room: {GO_ON} from the last checkpoint.")
        except Stop as stop:
            print(f"\n{stop}", file=sys.stderr)
            sys.exit(stop.code)

    try:
        app.run(guarded, flags_parser=config_flags.parser(usage, config_classes, takes_command))
    except flags.Error as error:
        sys.exit(f"error: {str(error).splitlines()[-1]} (--help shows all flags)")
    except BrokenPipeError:
        # Whoever read our output has gone, as in `--help | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
